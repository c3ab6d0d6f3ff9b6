use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::json;

use super::*;

fn line(name: &str) -> CommandLine {
    let line = json!({"type": "t", "client_request_id": name}).to_string();
    CommandLine { label: name.to_owned(), line, change: "done" }
}

#[test]
fn a_request_is_bounded_in_lines_and_bytes() {
    let big = CommandLine { label: "big".into(), line: "x".repeat(limits::IMPORT_CHUNK_BYTES), change: "" };
    let mut lines = vec![line("a"), big, line("b")].into_iter().map(|line| Ok(line.into()));
    let mut held = None;
    let mut chunk =
        || next_chunk(&mut lines, &mut held).unwrap().into_iter().map(|line| line.label).collect::<Vec<_>>();
    assert_eq!(chunk(), ["a"]);
    assert_eq!(chunk(), ["big"]);
    assert_eq!(chunk(), ["b"]);
    assert!(chunk().is_empty());
    let mut many = (0..limits::IMPORT_CHUNK_LINES + 1).map(|n| Ok(line(&n.to_string()).into()));
    assert_eq!(next_chunk(&mut many, &mut None).unwrap().len(), limits::IMPORT_CHUNK_LINES);
}

/// A server that knows what it accepted, puts the line `busy` off once, and refuses the line `bad`.
#[derive(Clone, Default)]
struct Stub {
    accepted: Arc<Mutex<HashSet<String>>>,
    put_off: Arc<Mutex<bool>>,
}

async fn answer(State(stub): State<Stub>, body: String) -> String {
    let mut answers = String::new();
    for line in body.lines() {
        let document: Value = serde_json::from_str(line).unwrap();
        let name = document["client_request_id"].as_str().unwrap();
        let answer = if name == "busy" && !std::mem::replace(&mut *stub.put_off.lock().unwrap(), true) {
            json!({"status": 503, "title": "Too busy", "retry_after_ms": 1})
        } else if name == "bad" {
            json!({"status": 422, "title": "Rejected by a rule", "operation_id": uuid::Uuid::nil()})
        } else {
            let replayed = !stub.accepted.lock().unwrap().insert(name.to_owned());
            let id = uuid::Uuid::nil();
            json!({"status": 200, "operation_id": id, "replayed": replayed, "aggregate": {"type": "t", "id": id, "version": 1},
                   "events": [{"event_id": id, "event_type": "t.done"}], "consistency_token": name})
        };
        answers.push_str(&format!("{answer}\n"));
    }
    answers
}

async fn stub() -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/v1/commands", post(answer)).with_state(Stub::default());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Client::new(&format!("http://{address}"), "token").unwrap()
}

#[tokio::test]
async fn lines_that_were_put_off_are_sent_again_and_counted_once() {
    let client = stub().await;
    let names = ["a", "busy", "b", "bad", "c"];
    let mut order = Vec::new();
    let mut tally = Tally::default();
    let refused = || Line::Refused {
        label: "unsent".to_owned(),
        problem: Box::new(Problem::read(400, None, json!({"status": 400, "title": "Not UTF-8"}))),
    };
    let lines = names.iter().map(|name| Ok(line(name).into()));
    let mut lines = lines.chain([Ok(refused()), Ok(refused())]);
    send_all(&client, &mut lines, &mut tally, &mut |line, _| order.push(line.label.clone())).await.unwrap();
    assert_eq!(order, [&names[..], &["unsent", "unsent"]].concat());
    assert_eq!((tally.accepted, tally.replayed, tally.refused, tally.events), (4, 0, 3, 4));
    assert_eq!(tally.changes["done"], 4);
    assert_eq!(tally.refusals[0].0, "bad");
    assert_eq!(tally.consistency_token.as_deref(), Some("c"));

    let mut again = Tally::default();
    let mut lines = names.iter().map(|name| Ok(line(name).into()));
    send_all(&client, &mut lines, &mut again, &mut |_, _| {}).await.unwrap();
    assert_eq!((again.accepted, again.replayed, again.refused, again.events), (0, 4, 1, 0));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_of_the_environment() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::new(&format!("http://{address}"), "token").unwrap();
    let mut tally = Tally::default();
    let error =
        send_all(&client, &mut [Ok(line("a").into())].into_iter(), &mut tally, &mut |_, _| {}).await.unwrap_err();
    let ImportError::Call { answered: 0, cause } = error else { panic!("{error}") };
    assert!(cause.is_passing());
    assert_eq!(Failure::from(cause).exit, Exit::Usage);
}

#[test]
fn a_server_that_refuses_again_and_again_is_named_and_one_that_asks_for_a_moment_is_not() {
    let full = json!({ "type": "urn:annals:problem:aborted", "status": 503, "detail": "database or disk is full" });
    let problem = Problem::read(503, None, full);
    assert_eq!(refuses(1, &problem), None);
    assert_eq!(refuses(2, &problem), None);
    let said = refuses(3, &problem).unwrap();
    assert!(
        said.starts_with("server refuses: ") && said.contains("disk is full") && said.ends_with(", retrying"),
        "{said}"
    );
    let late =
        json!({ "type": "urn:annals:problem:unanswered", "status": 503, "detail": "no answer within the deadline" });
    let said = refuses(1, &Problem::read(503, None, late)).expect("it was waited for already");
    assert!(said.starts_with("server refuses: ") && said.contains("no answer within the deadline"), "{said}");
}
