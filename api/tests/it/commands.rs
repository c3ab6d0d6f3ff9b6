use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Server, header, new_id, rename, send, user};

#[tokio::test]
async fn a_new_aggregate_is_answered_with_201_and_everything_the_contract_names() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let body = json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": "Billing" } });
    let answer = server.command("portfolio.project.create", &body).await.expect(201);
    let json = answer.json();
    let members: Vec<&String> = json.as_object().unwrap().keys().collect();
    let named = ["aggregate", "consistency_token", "contract_version", "data", "events", "operation_id", "replayed"];
    assert_eq!(members, named);
    assert_eq!(json["replayed"], false);
    assert_eq!(json["aggregate"]["type"], "portfolio.project");
    assert_eq!(json["aggregate"]["version"], 1);
    assert_eq!(json["events"][0]["event_type"], "project.created");
    assert_eq!(json["events"][0]["position"]["context"], "portfolio");
    assert!(json["events"][0]["position"]["offset"].is_u64());
    assert_eq!(json["data"], json!([{ "name": "Billing" }]));
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(answer.header("consistency-token"), json["consistency_token"]);
    let found = server.get(answer.header("location")).await.expect(200).json();
    assert_eq!(found["aggregate"]["id"], json["aggregate"]["id"]);
    server.stop().await;
}

#[tokio::test]
async fn a_repeated_command_is_answered_and_not_repeated() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let body = json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": "Billing" } });
    let first = server.command("portfolio.project.create", &body).await.expect(201).json();
    let ends = server.ends().await;
    let mut second = server.command("portfolio.project.create", &body).await.expect(200).json();
    assert_eq!(second["replayed"], true);
    second["replayed"] = false.into();
    assert_eq!(second, first);
    assert_eq!(server.ends().await, ends);
    let operation = format!("/v1/operations/{}", first["operation_id"].as_str().unwrap());
    let looked_up = server.get(&operation).await.expect(200).json();
    assert_eq!((&looked_up["events"], &looked_up["data"]), (&first["events"], &first["data"]));
    server.stop().await;
}

#[tokio::test]
async fn another_command_under_a_used_request_id_is_refused() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let good = json!({ "client_request_id": "once", "workspace_id": workspace, "payload": { "name": "Billing" } });
    let operation = server.command("portfolio.project.create", &good).await.expect(201).json()["operation_id"].clone();
    let ends = server.ends().await;
    let others: [(&str, &str, Value); 4] = [
        ("portfolio.project.create", "payload", json!({ "name": "Payroll" })),
        ("portfolio.project.create", "reason", json!("another reason")),
        ("portfolio.project.create", "adr_id", json!("ADR-1")),
        ("portfolio.application.register", "payload", json!({ "name": "Billing" })),
    ];
    for (command_type, field, value) in others {
        let mut other = good.clone();
        other[field] = value;
        let answer = server.command(command_type, &other).await.expect(422);
        assert_eq!(answer.problem(), "request-id-reused");
        assert_eq!(answer.json()["operation_id"], operation);
    }
    // The correlation id is how the request travelled, not what it asks.
    let mut traced = good;
    traced["correlation_id"] = new_id().into();
    assert_eq!(server.command("portfolio.project.create", &traced).await.expect(200).json()["replayed"], true);
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}

#[tokio::test]
async fn headers_may_carry_request_id_and_version_and_must_agree_with_the_body() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let post = |headers, body: &Value| {
        send(server.request(Method::POST, "/v1/commands/portfolio.project.rename").headers(headers).json(body))
    };
    let mut body = rename(workspace, project, "Payroll");
    let request_id = body["client_request_id"].as_str().unwrap().to_owned();
    body.as_object_mut().unwrap().remove("client_request_id");
    let mut headers = header("idempotency-key", &format!("\"{request_id}\""));
    headers.extend(header("if-match", "\"1\""));
    assert_eq!(post(headers.clone(), &body).await.expect(200).json()["aggregate"]["version"], 2);
    body["client_request_id"] = request_id.into();
    body["expected_version"] = 1.into();
    assert_eq!(post(headers, &body).await.expect(200).json()["replayed"], true);
    let answer = post(header("idempotency-key", "another"), &body).await.expect(400);
    assert_eq!((answer.problem().as_str(), &answer.json()["field"]), ("invalid-header", &json!("Idempotency-Key")));
    let answer = post(header("if-match", "\"2\""), &body).await.expect(400);
    assert_eq!((answer.problem().as_str(), &answer.json()["field"]), ("invalid-header", &json!("If-Match")));
    server.stop().await;
}

#[tokio::test]
async fn conflicts_and_rejections_say_what_stands_in_the_way() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    server.project(workspace, "Payroll").await;
    let ends = server.ends().await;

    let mut stale = rename(workspace, project, "Accounts");
    stale["expected_version"] = 7.into();
    let answer = server.command("portfolio.project.rename", &stale).await.expect(409);
    assert_eq!((answer.problem().as_str(), &answer.json()["actual_version"]), ("version-conflict", &json!(1)));

    let taken = rename(workspace, project, "Payroll");
    let answer = server.command("portfolio.project.rename", &taken).await.expect(409);
    assert_eq!((answer.problem().as_str(), &answer.json()["key"]), ("unique-key-taken", &json!("project.name")));

    let again = json!({
        "client_request_id": new_id(), "workspace_id": workspace, "aggregate_id": project, "payload": { "name": "Third" },
    });
    let answer = server.command("portfolio.project.create", &again).await.expect(409);
    assert_eq!((answer.problem().as_str(), &answer.json()["actual_version"]), ("already-exists", &json!(1)));

    let missing = rename(workspace, Uuid::new_v4(), "Third");
    assert_eq!(server.command("portfolio.project.rename", &missing).await.expect(404).problem(), "not-found");

    let mut nameless = rename(workspace, project, "Third");
    nameless.as_object_mut().unwrap().remove("aggregate_id");
    let answer = server.command("portfolio.project.rename", &nameless).await.expect(400);
    assert_eq!(answer.problem(), "aggregate-id-missing");

    let itself = json!({
        "client_request_id": new_id(), "workspace_id": workspace,
        "payload": { "from_application_id": project, "to_application_id": project, "kind": "runtime" },
    });
    let answer = server.command("portfolio.dependency.declare", &itself).await.expect(422);
    assert_eq!((answer.problem().as_str(), &answer.json()["rejection"]), ("rejected", &json!("on_itself")));
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}

#[tokio::test]
async fn a_workspace_must_exist_and_be_active() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let kept = rename(workspace, project, "Payroll");
    server.command("portfolio.project.rename", &kept).await.expect(200);

    let answer = server.command("portfolio.project.rename", &rename(Uuid::new_v4(), project, "X")).await.expect(404);
    assert_eq!((answer.problem().as_str(), &answer.json()["field"]), ("workspace-not-found", &json!("workspace_id")));

    let archive = json!({ "client_request_id": new_id(), "aggregate_id": workspace, "payload": {} });
    server.command("access.workspace.archive", &archive).await.expect(200);
    let ends = server.ends().await;
    // At once: whoever was told that it is archived never finds it open again.
    let answer = server.command("portfolio.project.rename", &rename(workspace, project, "Late")).await.expect(409);
    assert_eq!(answer.problem(), "workspace-archived");
    // What was accepted before still has its answer, and what is there can be read.
    assert_eq!(server.command("portfolio.project.rename", &kept).await.expect(200).json()["replayed"], true);
    server.get(&format!("/v1/aggregates/portfolio.project/{project}?workspace_id={workspace}")).await.expect(200);
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}

#[tokio::test]
async fn events_carry_who_and_why_and_the_requests_trace() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let trace = new_id();
    let mut body = rename(workspace, project, "Payroll");
    body["reason"] = "a better name".into();
    body["adr_id"] = "ADR-7".into();
    let post = server.request(Method::POST, "/v1/commands/portfolio.project.rename");
    send(post.headers(header("x-trace-id", &trace)).json(&body)).await.expect(200);
    let path = format!("/v1/aggregates/portfolio.project/{project}/events?workspace_id={workspace}&after=1");
    let event = server.get(&path).await.expect(200).json()["events"][0].clone();
    assert_eq!(event["actor_id"], format!("user:{}", user().0));
    assert_eq!(event["correlation_id"], trace);
    assert_eq!(event["reason"], "a better name");
    assert_eq!(event["adr_id"], "ADR-7");
    assert_eq!(event["policy_decision"], "builtin:dev-token");
    assert_eq!(event["client_request_id"], body["client_request_id"]);
    server.stop().await;
}

#[tokio::test]
async fn tenants_do_not_reach_each_others_things() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let renamed = rename(workspace, project, "Payroll");
    let answer = server.command("portfolio.project.rename", &renamed).await.expect(200).json();
    let operation = answer["operation_id"].as_str().unwrap();
    let ends = server.ends().await;
    let query = format!("workspace_id={workspace}");
    for path in [
        format!("/v1/operations/{operation}"),
        format!("/v1/aggregates/access.workspace/{workspace}"),
        format!("/v1/aggregates/portfolio.project/{project}?{query}"),
        format!("/v1/aggregates/portfolio.project/{project}/events?{query}"),
    ] {
        server.get(&path).await.expect(200);
        send(server.stranger(Method::GET, &path)).await.expect(404);
    }
    for body in [renamed, rename(workspace, project, "Stolen")] {
        let post = server.stranger(Method::POST, "/v1/commands/portfolio.project.rename");
        assert_eq!(send(post.json(&body)).await.expect(404).problem(), "workspace-not-found");
    }
    let archive = json!({ "client_request_id": new_id(), "aggregate_id": workspace, "payload": {} });
    let post = server.stranger(Method::POST, "/v1/commands/access.workspace.archive");
    assert_eq!(send(post.json(&archive)).await.expect(404).problem(), "not-found");
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}
