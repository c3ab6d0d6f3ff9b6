//! Events as JSON: every field that the contract makes mandatory, and what the official SDK of CloudEvents makes of them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use annals_model::ids::WorkspaceId;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Answer, Server, header, new_id, rename, send, tenant, user};

/// The SDK that is shown to take them.
const LIBRARIES: [&str; 1] = ["cloudevents==2.2.0"];

/// By the names of the contract: never empty.
const MANDATORY: [&str; 10] = [
    "event_id",
    "event_type",
    "event_version",
    "emitted_at",
    "occurred_at",
    "tenant_id",
    "workspace_id",
    "actor_id",
    "correlation_id",
    "payload",
];

/// A form that events of ours once had: what the SDK must refuse, or it was not asked.
fn as_it_was() -> Value {
    json!({
        "specversion": "1.0", "id": new_id(), "type": "project.created", "source": "/v1/aggregates/portfolio.project",
        "time": "2026-01-19T12:00:00Z", "event_version": 1, "correlation_id": null, "position": { "offset": 1 }, "data": {},
    })
}

/// What the SDK says of each document.
async fn read_by_the_sdk(documents: Vec<Value>) -> Vec<Value> {
    tokio::task::spawn_blocking(move || {
        let python = annals_dev::python::with("cloudevents", &LIBRARIES).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cloud_events/read.py");
        let mut command = Command::new(python);
        let command = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines: String = documents.iter().map(|document| format!("{document}\n")).collect();
        process.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    })
    .await
    .unwrap()
}

fn has_every_mandatory_field(event: &Value) {
    for field in MANDATORY {
        let empty = match &event[field] {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
        };
        assert!(!empty, "{field} of {event}");
    }
    assert!(event["payload"].is_object() && event["event_version"].is_u64(), "{event}");
}

async fn asked_as(server: &Server, path: &str, accept: &'static str) -> Answer {
    send(server.request(Method::GET, path).headers(header("accept", accept))).await
}

/// The history of a project that was renamed: with a trace and a reason, and without.
async fn renamed_project(server: &Server) -> (Uuid, String) {
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let mut body = rename(workspace, project, "Payroll");
    body["reason"] = "two\nlines".into();
    body["correlation_id"] = new_id().into();
    server.command("portfolio.project.rename", &body).await.expect(200);
    (workspace, format!("/v1/aggregates/portfolio.project/{project}/events?workspace_id={workspace}"))
}

#[tokio::test]
async fn an_event_carries_every_mandatory_field_wherever_it_is_shown() {
    let server = Server::start().await;
    let (workspace, path) = renamed_project(&server).await;
    let events = server.get(&path).await.expect(200).json()["events"].as_array().unwrap().clone();
    assert_eq!(events.len(), 2);
    for event in &events {
        has_every_mandatory_field(event);
        assert_eq!(event["tenant_id"], json!(tenant()));
        assert_eq!(event["workspace_id"], json!(workspace));
        assert_eq!(event["actor_id"], format!("user:{}", user().0));
        let one = server.get(&format!("/v1/events/{}", event["event_id"].as_str().unwrap())).await.expect(200).json();
        assert_eq!((&one["event"], &one["contract_version"]), (event, &json!("1.0")));
    }
    // Nobody named a trace for the first.
    assert_eq!(events[0]["correlation_id"], events[0]["operation_id"]);
    assert_ne!(events[1]["correlation_id"], events[1]["operation_id"]);
    let of_tenant = server.get(&format!("/v1/aggregates/access.workspace/{workspace}/events")).await.expect(200).json();
    has_every_mandatory_field(&of_tenant["events"][0]);
    assert_eq!(of_tenant["events"][0]["workspace_id"], json!(WorkspaceId::NIL));
    server.stop().await;
}

#[tokio::test]
async fn the_official_sdk_takes_an_event_and_a_page_of_events() {
    let server = Server::start().await;
    let (_, path) = renamed_project(&server).await;
    let events = server.get(&path).await.expect(200).json()["events"].as_array().unwrap().clone();
    let batch = asked_as(&server, &path, "application/cloudevents-batch+json").await.expect(200);
    assert_eq!(batch.header("content-type"), "application/cloudevents-batch+json");
    let one = format!("/v1/events/{}", events[1]["event_id"].as_str().unwrap());
    let single = asked_as(&server, &one, "application/cloudevents+json").await.expect(200);
    assert_eq!(single.header("content-type"), "application/cloudevents+json");

    let read = read_by_the_sdk(vec![batch.json(), single.json(), as_it_was()]).await;
    let taken = |answer: &Value| answer["events"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
    let (batch, single) = (taken(&read[0]), taken(&read[1]));
    assert_eq!((batch.len(), &single[0]), (2, &batch[1]));
    assert!(read[2]["refused"].as_str().unwrap().starts_with("CloudEventValidationError"), "{}", read[2]);
    for (event, cloud_event) in events.iter().zip(&batch) {
        let attributes = &cloud_event["attributes"];
        for (field, attribute) in [
            ("event_id", "id"),
            ("event_type", "type"),
            ("event_version", "eventversion"),
            ("emitted_at", "emittedat"),
            ("tenant_id", "tenantid"),
            ("workspace_id", "workspaceid"),
            ("actor_id", "actorid"),
            ("correlation_id", "correlationid"),
            ("operation_id", "operationid"),
            ("policy_decision", "policydecision"),
            ("client_request_id", "clientrequestid"),
        ] {
            assert!(!event[field].is_null(), "{field} of {event}");
            assert_eq!(attributes[attribute], event[field], "{attribute}");
        }
        assert_eq!(cloud_event["data"], event["payload"]);
        assert_eq!(attributes["subject"], event["aggregate"]["id"]);
        assert_eq!(attributes["partition"], event["position"]["partition"]);
        assert_eq!(attributes["offset"], event["position"]["offset"].to_string());
        assert_eq!(attributes["sequence"], event["sequence"].to_string());
        // RFC 3339, in Python's own spelling of UTC.
        assert_eq!(attributes["time"].as_str().unwrap().replace("+00:00", "Z"), event["occurred_at"].as_str().unwrap());
    }
    assert_eq!(batch[1]["attributes"]["reason"], "two lines");
    assert!(batch[0]["attributes"].get("reason").is_none());
    server.stop().await;
}

#[tokio::test]
async fn the_form_of_events_is_negotiated_and_what_there_is_not_is_refused() {
    let server = Server::start().await;
    let (_, path) = renamed_project(&server).await;
    let path = format!("{path}&limit=1");
    let plain = server.get(&path).await.expect(200);
    assert_eq!((plain.header("content-type"), plain.header("vary")), ("application/json", "accept"));
    let either = "application/cloudevents-batch+json;q=0.5, application/json;q=0.4";
    let batch = asked_as(&server, &path, either).await.expect(200);
    assert_eq!(batch.header("content-type"), "application/cloudevents-batch+json");
    assert_eq!(batch.header("vary"), "accept");
    // The next page, whatever the form.
    let next = batch.header("link").strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    assert_eq!(plain.header("link"), batch.header("link"));
    let last = asked_as(&server, &next, either).await.expect(200);
    assert!(last.headers.get("link").is_none());
    assert_eq!(last.json()[0]["sequence"], "2");

    for accept in ["text/html", "application/cloudevents+json", "application/json;q=0"] {
        let refused = asked_as(&server, &path, accept).await.expect(406);
        assert_eq!((refused.problem().as_str(), refused.header("vary")), ("not-acceptable", "accept"), "{accept}");
        assert!(refused.text.contains("application/cloudevents-batch+json"), "{}", refused.text);
    }
    let one = format!("/v1/events/{}", plain.json()["events"][0]["event_id"].as_str().unwrap());
    asked_as(&server, &one, "application/cloudevents-batch+json").await.expect(406);
    server.stop().await;
}

#[tokio::test]
async fn an_event_is_found_by_its_id_by_its_tenant_alone() {
    let server = Server::start().await;
    let (_, path) = renamed_project(&server).await;
    let event = server.get(&path).await.expect(200).json()["events"][0].clone();
    let (id, operation) = (event["event_id"].as_str().unwrap(), event["operation_id"].as_str().unwrap());
    server.get(&format!("/v1/events/{id}")).await.expect(200);
    send(server.stranger(Method::GET, &format!("/v1/events/{id}"))).await.expect(404);
    // The operation had one event: it is none itself, and there is no second.
    let second = Uuid::from_u128(id.parse::<Uuid>().unwrap().as_u128() + 1);
    for nothing in [operation.to_owned(), second.to_string(), new_id()] {
        let answer = server.get(&format!("/v1/events/{nothing}")).await.expect(404);
        assert_eq!((answer.problem().as_str(), &answer.json()["field"]), ("not-found", &json!("event_id")));
    }
    server.get("/v1/events/nonsense").await.expect(400);
    server.stop().await;
}

#[tokio::test]
async fn whatever_becomes_of_a_command_its_answer_names_the_operation() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let mut stale = rename(workspace, project, "Payroll");
    stale["expected_version"] = 7.into();
    let mut elsewhere = rename(Uuid::new_v4(), project, "Payroll");
    elsewhere["client_request_id"] = stale["client_request_id"].clone();
    for (body, status) in [(stale, 409), (elsewhere, 404)] {
        let alone = server.command("portfolio.project.rename", &body).await.expect(status).json();
        let operation = alone["operation_id"].as_str().unwrap_or_else(|| panic!("{alone}"));
        server.get(&format!("/v1/operations/{operation}")).await.expect(404);
        let mut line = body;
        line["type"] = "portfolio.project.rename".into();
        let batch = server.batch(line.to_string()).await.expect(200).lines();
        assert_eq!((&batch[0]["operation_id"], &batch[0]["status"]), (&json!(operation), &json!(status)));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_traces_id_is_the_correlation_of_what_it_sets_in_motion() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n1").await;
    let trace = Uuid::from_u128(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    let traceparent = format!("00-{}-00f067aa0ba902b7-01", trace.simple());
    let nil = Uuid::nil().to_string();
    let mut seen = Vec::new();
    for (n, headers) in [("n2", header("traceparent", &traceparent)), ("n3", header("x-trace-id", &nil))] {
        let post = server.request(Method::POST, "/v1/commands/portfolio.project.rename").headers(headers);
        let answer = send(post.json(&rename(workspace, project, n))).await.expect(200).json();
        let id = answer["events"][0]["event_id"].as_str().unwrap();
        seen.push(server.get(&format!("/v1/events/{id}")).await.expect(200).json()["event"].clone());
    }
    assert_eq!(seen[0]["correlation_id"], trace.to_string());
    assert_eq!(seen[1]["correlation_id"], seen[1]["operation_id"]);
    server.stop().await;
}
