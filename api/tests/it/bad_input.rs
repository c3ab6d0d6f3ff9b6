use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Server, header, new_id, rename, send};

pub(crate) const RENAME: &str = "portfolio.project.rename";

/// Method, address, headers; status, problem, field.
type HeadCase<'a> = (Method, &'a str, HeaderMap, u16, &'static str, Option<&'static str>);

/// A body as text, so that it can say what a JSON library would not: what it is, status, problem, field.
type Case = (&'static str, String, u16, &'static str, Option<&'static str>);

fn body_cases(workspace: Uuid, project: Uuid) -> Vec<Case> {
    let good = rename(workspace, project, "Payroll");
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body.to_string()
    };
    let text = good.to_string();
    let raw = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    vec![
        ("no body", String::new(), 400, "malformed-json", None),
        ("no JSON", "hello".to_owned(), 400, "malformed-json", None),
        ("half a document", text[..text.len() - 1].to_owned(), 400, "malformed-json", None),
        ("two documents", format!("{text}{text}"), 400, "malformed-json", None),
        ("an array", "[]".to_owned(), 400, "malformed-json", None),
        ("null", "null".to_owned(), 400, "malformed-json", None),
        ("an unknown field", with("colour", json!("red")), 400, "invalid-field", Some("colour")),
        ("tenant in the body", with("tenant_id", json!(new_id())), 400, "invalid-field", Some("tenant_id")),
        (
            "a repeated field",
            raw("{\"aggregate_id\"", "{\"payload\":{},\"aggregate_id\""),
            400,
            "invalid-field",
            Some("payload"),
        ),
        (
            "a repeated payload field",
            raw("{\"name\":\"Payroll\"}", "{\"name\":\"a\",\"name\":\"b\"}"),
            400,
            "invalid-field",
            Some("payload.name"),
        ),
        (
            "an unknown payload field",
            with("payload", json!({ "name": "x", "colour": 1 })),
            400,
            "invalid-field",
            Some("payload.colour"),
        ),
        ("a missing payload field", with("payload", json!({})), 400, "invalid-field", Some("payload.name")),
        (
            "a payload field of the wrong type",
            with("payload", json!({ "name": 1 })),
            400,
            "invalid-field",
            Some("payload.name"),
        ),
        (
            "a payload field that is null",
            with("payload", json!({ "name": null })),
            400,
            "invalid-field",
            Some("payload.name"),
        ),
        ("an empty name", with("payload", json!({ "name": "  " })), 400, "invalid-field", Some("payload.name")),
        (
            "a name that is too long",
            with("payload", json!({ "name": "x".repeat(201) })),
            400,
            "invalid-field",
            Some("payload.name"),
        ),
        (
            "a control character in a name",
            with("payload", json!({ "name": "a\u{7}b" })),
            400,
            "invalid-field",
            Some("payload.name"),
        ),
        ("NUL in a value", raw("Payroll", "Pay\\u0000roll"), 400, "invalid-field", Some("payload.name")),
        ("NUL in a field's name", raw("\"name\":", "\"na\\u0000me\":"), 400, "invalid-field", Some("payload")),
        ("a payload that is no object", with("payload", json!([])), 400, "invalid-field", Some("payload")),
        ("no payload", without("payload"), 400, "invalid-field", Some("payload")),
        ("no client_request_id", without("client_request_id"), 400, "invalid-field", Some("client_request_id")),
        (
            "an empty client_request_id",
            with("client_request_id", json!("")),
            400,
            "invalid-field",
            Some("client_request_id"),
        ),
        (
            "a client_request_id that is too long",
            with("client_request_id", json!("x".repeat(129))),
            400,
            "invalid-field",
            Some("client_request_id"),
        ),
        (
            "a line break in client_request_id",
            with("client_request_id", json!("a\nb")),
            400,
            "invalid-field",
            Some("client_request_id"),
        ),
        (
            "a number as client_request_id",
            with("client_request_id", json!(1)),
            400,
            "invalid-field",
            Some("client_request_id"),
        ),
        ("no workspace_id", without("workspace_id"), 400, "invalid-field", Some("workspace_id")),
        (
            "a workspace_id that is no uuid",
            with("workspace_id", json!("here")),
            400,
            "invalid-field",
            Some("workspace_id"),
        ),
        ("the nil workspace", with("workspace_id", json!(Uuid::nil())), 400, "invalid-field", Some("workspace_id")),
        (
            "a workspace that is not there",
            with("workspace_id", json!(new_id())),
            404,
            "workspace-not-found",
            Some("workspace_id"),
        ),
        ("an aggregate_id that is no uuid", with("aggregate_id", json!(7)), 400, "invalid-field", Some("aggregate_id")),
        (
            "an aggregate that is not there",
            with("aggregate_id", json!(new_id())),
            404,
            "not-found",
            Some("aggregate_id"),
        ),
        (
            "a correlation_id that is no uuid",
            with("correlation_id", json!("x")),
            400,
            "invalid-field",
            Some("correlation_id"),
        ),
        ("a version as text", with("expected_version", json!("1")), 400, "invalid-field", Some("expected_version")),
        ("a negative version", with("expected_version", json!(-1)), 400, "invalid-field", Some("expected_version")),
        ("a broken version", with("expected_version", json!(1.5)), 400, "invalid-field", Some("expected_version")),
        (
            "a version outside i64",
            raw("{\"aggregate_id\"", "{\"expected_version\":9223372036854775808,\"aggregate_id\""),
            400,
            "invalid-field",
            Some("expected_version"),
        ),
        (
            "a number outside i64",
            raw("\"Payroll\"", "-9223372036854775809"),
            400,
            "invalid-field",
            Some("payload.name"),
        ),
        ("a number without a double", raw("\"Payroll\"", "1e999"), 400, "invalid-field", Some("payload.name")),
        ("a reason that is too long", with("reason", json!("x".repeat(2_001))), 400, "invalid-field", Some("reason")),
        ("a reason that is no text", with("reason", json!({})), 400, "invalid-field", Some("reason")),
        ("an adr_id that is too long", with("adr_id", json!("x".repeat(257))), 400, "invalid-field", Some("adr_id")),
        ("too deep", raw("\"Payroll\"", &nested(40)), 400, "invalid-field", None),
        ("very deep", nested(100_000), 400, "invalid-field", None),
        ("too many items", raw("\"Payroll\"", &json!(vec![0; 20_000]).to_string()), 400, "invalid-field", None),
        ("too large", with("reason", json!("x".repeat(300_000))), 413, "too-large", None),
    ]
}

#[tokio::test]
async fn whatever_is_wrong_with_a_body_is_named_and_nothing_is_written() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let ends = server.ends().await;
    for (what, body, status, problem, field) in body_cases(workspace, project) {
        let post = server.request(Method::POST, &format!("/v1/commands/{RENAME}"));
        let answer = send(post.header("content-type", "application/json").body(body.clone())).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert_eq!(answer.problem(), problem, "{what}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let json = answer.json();
        assert_eq!((&json["status"], &json["contract_version"]), (&json!(status), &json!("1.0")), "{what}");
        assert!(json["title"].is_string() && json["detail"].is_string(), "{what}");
        if let Some(field) = field {
            assert_eq!(json["field"], field, "{what}: {}", answer.text);
        }
        // The same as a line of a batch: the same problem, in the line's place.
        let line = match body.strip_prefix('{') {
            Some(rest) => format!("{{\"type\":\"{RENAME}\",{rest}\n"),
            None => format!("{body}\n"),
        };
        for answer in server.batch(line).await.expect(200).lines() {
            assert_eq!((&answer["status"], &answer["type"]), (&json["status"], &json["type"]), "{what}: {answer}");
        }
    }
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}

#[tokio::test]
async fn whatever_is_wrong_with_address_method_type_or_headers_is_named() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let good = rename(workspace, project, "Payroll").to_string();
    let ends = server.ends().await;
    let rename = format!("/v1/commands/{RENAME}");
    let json = || header("content-type", "application/json");
    let and = |name: &'static str, value: &str| {
        let mut headers = json();
        headers.extend(header(name, value));
        headers
    };
    let twice = || {
        let mut headers = json();
        headers.append(HeaderName::from_static("if-match"), HeaderValue::from_static("\"1\""));
        headers.append(HeaderName::from_static("if-match"), HeaderValue::from_static("\"2\""));
        headers
    };
    let cases: Vec<HeadCase<'_>> = vec![
        (Method::POST, "/v1/commands/portfolio.project.vanish", json(), 404, "unknown-command", Some("type")),
        (Method::POST, "/v1/commands/portfolio.nothing.rename", json(), 404, "unknown-command", Some("type")),
        (Method::POST, "/v1/commands/nowhere.project.rename", json(), 404, "unknown-command", Some("type")),
        (Method::POST, "/v1/commands/rename", json(), 404, "unknown-command", Some("type")),
        (Method::POST, "/v1/commands/portfolio.project.rename.x", json(), 404, "unknown-command", Some("type")),
        (Method::POST, "/v1/commands/portfolio..", json(), 404, "unknown-command", Some("type")),
        (Method::POST, "/v1/commands/%00", json(), 404, "unknown-command", Some("type")),
        (Method::POST, "/v1/commands/%ff", json(), 400, "invalid-parameter", Some("path")),
        (Method::POST, "/v1/commands/portfolio.project.rename?x=1", json(), 400, "invalid-parameter", Some("x")),
        (Method::GET, &rename, json(), 405, "method-not-allowed", None),
        (Method::DELETE, "/v1/commands", json(), 405, "method-not-allowed", None),
        (Method::POST, "/livez", json(), 405, "method-not-allowed", None),
        (Method::POST, "/v1/nothing", json(), 404, "unknown-route", None),
        (Method::GET, "/", json(), 404, "unknown-route", None),
        (Method::GET, "/v1/commands/a/b/c", json(), 404, "unknown-route", None),
        (Method::GET, "/v1/operations/no-uuid", json(), 400, "invalid-parameter", Some("operation_id")),
        (Method::GET, "/v1/operations/0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f", json(), 404, "not-found", None),
        (Method::POST, &rename, HeaderMap::new(), 415, "unsupported-media-type", Some("Content-Type")),
        (Method::POST, &rename, header("content-type", "text/json"), 415, "unsupported-media-type", None),
        (
            Method::POST,
            &rename,
            header("content-type", "application/json; charset=latin1"),
            415,
            "unsupported-media-type",
            None,
        ),
        (Method::POST, &rename, and("if-match", "*"), 400, "invalid-header", Some("If-Match")),
        (Method::POST, &rename, and("if-match", "W/\"1\""), 400, "invalid-header", Some("If-Match")),
        (Method::POST, &rename, and("if-match", "\"99999999999999999999\""), 400, "invalid-header", Some("If-Match")),
        (Method::POST, &rename, and("if-match", ""), 400, "invalid-header", Some("If-Match")),
        (Method::POST, &rename, twice(), 400, "invalid-header", Some("if-match")),
        (Method::POST, &rename, and("idempotency-key", ""), 400, "invalid-header", Some("Idempotency-Key")),
        (Method::POST, &rename, and("x-request-timeout", "soon"), 400, "invalid-header", Some("X-Request-Timeout")),
    ];
    for (method, path, headers, status, problem, field) in cases {
        let what = format!("{method} {path} {headers:?}");
        let answer = send(server.request(method, path).headers(headers).body(good.clone())).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert_eq!(answer.problem(), problem, "{what}");
        if let Some(field) = field {
            assert_eq!(answer.json()["field"], field, "{what}");
        }
        assert_eq!(status == 405, answer.headers.contains_key("allow"), "{what}");
    }
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}

#[tokio::test]
async fn nobody_gets_past_without_a_token_of_this_server() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let ends = server.ends().await;
    let other = Server::start().await;
    let foreign = other.token().to_owned();
    let good = format!("Bearer {}", server.token());
    let paths = [
        (Method::POST, "/v1/commands"),
        (Method::POST, "/v1/commands/access.workspace.create"),
        (Method::GET, "/v1/operations/0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f"),
        (Method::GET, "/v1/aggregates/access.workspace/0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f"),
        (Method::GET, "/v1/aggregates/access.workspace/0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f/events"),
        (Method::GET, "/v1/events/0190a5d2-7e5c-8cc3-98c4-dc0c0c070001"),
    ];
    for (method, path) in paths {
        let tokens = ["", "Bearer", "Bearer x", "Basic eDp4", &format!("Bearer {foreign}"), &good[..good.len() - 2]];
        for token in tokens.map(Some).into_iter().chain([None]) {
            let mut request = server.anonymous(method.clone(), path);
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            let answer = send(request.json(&json!({ "workspace_id": workspace }))).await.expect(401);
            assert_eq!(answer.problem(), "unauthenticated");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }
    assert_eq!(server.ends().await, ends);
    other.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn names_that_look_alike_are_one_name() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let named =
        |name: &str| json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": name } });
    let first = server.command("portfolio.project.create", &named("Cafe\u{301}")).await.expect(201).json();
    assert_eq!(first["data"][0]["name"], "Caf\u{e9}");
    let again = server.command("portfolio.project.create", &named("Caf\u{e9}")).await.expect(409);
    assert_eq!((again.problem().as_str(), &again.json()["holder"]), ("unique-key-taken", &first["aggregate"]["id"]));
    for unseen in ["\u{200b}", "Caf\u{e9}\u{200b}", "\u{202e}Caf\u{e9}", "\u{2800}"] {
        let refused = server.command("portfolio.project.create", &named(unseen)).await.expect(400).json();
        assert_eq!(refused["field"], "payload.name", "{unseen:?}");
    }
    for slug in ["-", "--", "0190a5d27e5c7cc398c4dc0c0c07398f", "0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f"] {
        let body = json!({ "client_request_id": new_id(), "payload": { "name": "W", "slug": slug } });
        let refused = server.command("access.workspace.create", &body).await.expect(400).json();
        assert_eq!(refused["field"], "payload.slug", "{slug:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_or_is_said_twice_is_refused_before_it_means_anything() {
    let server = Server::start().await;
    for query in ["name_prefix=%ff", "%ff=x", "name_prefix=a%C3", "workspace_id=%ED%A0%80"] {
        let answer = server.get(&format!("/v1/queries/portfolio.applications?{query}")).await.expect(400);
        assert_eq!(
            (answer.problem().as_str(), &answer.json()["field"]),
            ("invalid-parameter", &json!("query")),
            "{query}"
        );
    }
    let good = format!("Bearer {}", server.token());
    for (first, second) in [(good.as_str(), "Bearer x"), ("Bearer x", good.as_str()), (&good, &good)] {
        let request = server.anonymous(Method::GET, "/v1/queries").header("authorization", first);
        let answer = send(request.header("authorization", second)).await.expect(400);
        assert_eq!((answer.problem().as_str(), &answer.json()["field"]), ("invalid-header", &json!("authorization")));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_wrong_body_gets_a_small_answer() {
    let server = Server::start().await;
    let body = json!({ "client_request_id": new_id(), "x".repeat(240_000): 1, "payload": {} });
    let answer = server.command("access.workspace.create", &body).await.expect(400);
    assert!(answer.text.len() < 8_192, "{} bytes", answer.text.len());
    server.stop().await;
}
