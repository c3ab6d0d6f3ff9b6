use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::server::{Server, header, new_id, rename, send};

fn line(command_type: &str, mut body: Value) -> String {
    body["type"] = command_type.into();
    format!("{body}\n")
}

#[tokio::test]
async fn every_line_has_its_answer_in_order_and_a_wrong_one_stops_nothing() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    let rename = |name: &str| line("portfolio.project.rename", rename(workspace, project, name));
    let lines = [
        rename("n1"),
        "{\"type\": \n".to_owned(),
        "   \r\n".to_owned(),
        rename("n2"),
        line("portfolio.project.vanish", json!({})),
        line("portfolio.project.rename", json!({ "client_request_id": new_id(), "nonsense": 1, "payload": {} })),
        format!("{{\"type\": \"{}\"}}\n", "x".repeat(300_000)),
        rename("n3").trim_end().to_owned(),
    ];
    let answers = server.batch(lines.concat()).await.expect(200).lines();
    let seen: Vec<(u64, u64)> =
        answers.iter().map(|answer| (answer["line"].as_u64().unwrap(), answer["status"].as_u64().unwrap())).collect();
    assert_eq!(seen, [(1, 200), (2, 400), (4, 200), (5, 404), (6, 400), (7, 413), (8, 200)]);
    for answer in &answers {
        assert_eq!(answer["contract_version"], "1.0");
        assert_eq!(answer["status"] == 200, answer["operation_id"].is_string());
        assert_eq!(answer["status"] == 200, answer["type"].is_null());
    }
    let versions: Vec<_> = answers.iter().filter_map(|answer| answer["aggregate"]["version"].as_u64()).collect();
    assert_eq!(versions, [2, 3, 4]);
    server.stop().await;
}

#[tokio::test]
async fn later_lines_may_build_on_earlier_ones() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let mut lines = String::new();
    for n in 0..150 {
        let id = Uuid::new_v4();
        let about = |payload: Value| json!({ "client_request_id": new_id(), "workspace_id": workspace, "aggregate_id": id, "payload": payload });
        lines += &line("portfolio.application.register", about(json!({ "name": format!("app {n}") })));
        lines += &line("portfolio.application.release_version", about(json!({ "number": "1.0" })));
        let retire = json!({ "force": false });
        lines += &line("portfolio.application.retire", about(retire));
    }
    let answers = server.batch(lines.clone()).await.expect(200).lines();
    assert_eq!(answers.len(), 450);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["status"], if index % 3 == 0 { 201 } else { 200 }, "{answer}");
        assert_eq!(answer["aggregate"]["version"], index % 3 + 1, "{answer}");
    }
    let ends = server.ends().await;
    let again = server.batch(lines).await.expect(200).lines();
    for (first, second) in answers.iter().zip(&again) {
        assert_eq!((&second["operation_id"], &second["replayed"]), (&first["operation_id"], &json!(true)));
        assert_eq!(second["events"], first["events"]);
    }
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_comes_while_the_input_still_arrives() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    let (lines, receiver) = mpsc::channel::<Bytes>(1);
    let body = stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(line), receiver))
    });
    let post = server.request(Method::POST, "/v1/commands").header("content-type", "application/x-ndjson");
    let mut response = post.body(reqwest::Body::wrap_stream(body)).send().await.unwrap();
    for n in 1..=5u64 {
        let text = line("portfolio.project.rename", rename(workspace, project, &format!("n{n}")));
        // In two pieces: a line is whole when its end has come, not when its bytes have.
        let (head, tail) = text.split_at(text.len() / 2);
        lines.send(Bytes::copy_from_slice(head.as_bytes())).await.unwrap();
        lines.send(Bytes::copy_from_slice(tail.as_bytes())).await.unwrap();
        let answer: Value = serde_json::from_slice(&response.chunk().await.unwrap().unwrap()).unwrap();
        assert_eq!(answer["aggregate"]["version"], n + 1);
    }
    drop(lines);
    assert_eq!(response.chunk().await.unwrap(), None);
    server.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_open_at_shutdown_is_told_what_was_not_read() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    let text = line("portfolio.project.rename", rename(workspace, project, "n1"));
    let open = stream::unfold(Some(text), |text| async {
        match text {
            Some(text) => Some((Ok::<_, std::io::Error>(text), None)),
            None => std::future::pending().await,
        }
    });
    let post = server.request(Method::POST, "/v1/commands").header("content-type", "application/x-ndjson");
    let mut response = post.body(reqwest::Body::wrap_stream(open)).send().await.unwrap();
    let first: Value = serde_json::from_slice(&response.chunk().await.unwrap().unwrap()).unwrap();
    assert_eq!(first["status"], 200);
    let stopped = tokio::time::timeout(Duration::from_secs(20), server.stop());
    let (stopped, last) = tokio::join!(stopped, response.chunk());
    stopped.unwrap();
    let last: Value = serde_json::from_slice(&last.unwrap().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["line"]), (&json!(503), &json!(2)));
}

#[tokio::test]
async fn what_cannot_mean_one_command_is_refused_on_a_batch() {
    let server = Server::start().await;
    let ends = server.ends().await;
    for (name, status) in [("idempotency-key", 400), ("if-match", 400)] {
        let post = server.request(Method::POST, "/v1/commands").header("content-type", "application/x-ndjson");
        send(post.headers(header(name, "1")).body("{}")).await.expect(status);
    }
    let post = server.request(Method::POST, "/v1/commands").header("content-type", "application/json");
    assert_eq!(send(post.body("{}")).await.expect(415).problem(), "unsupported-media-type");
    assert_eq!(server.batch("").await.expect(200).text, "");
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}
