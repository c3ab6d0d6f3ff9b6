//! Clients that are silent, slow, or do not read: they take nothing from the others.

use std::time::Duration;

use annals_engine::log::memory::MemoryLog;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use uuid::Uuid;

use crate::server::{Server, Shape, contexts, new_id, send};

/// Connections that the server in these tests takes.
const CONNECTIONS: usize = 128;

async fn small() -> Server {
    let shape = Shape { connections: Some(CONNECTIONS), ..Shape::default() };
    Server::start_as(MemoryLog::new(&contexts()), shape).await
}

/// A connection on which this was sent.
async fn connected(server: &Server, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// The head of a request with the server's own token.
fn head(server: &Server, method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{more}\r\n", server.token())
}

fn create(workspace: Uuid) -> serde_json::Value {
    json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": new_id() } })
}

fn strangers_workspace(server: &Server) -> RequestBuilder {
    let slug = format!("w-{}", Uuid::new_v4().simple());
    let body = json!({ "client_request_id": new_id(), "payload": { "name": "W", "slug": slug } });
    server.stranger(Method::POST, "/v1/commands/access.workspace.create").json(&body)
}

/// On a connection of its own.
async fn asks_anew(server: &Server, path: &str) -> String {
    let request = head(server, "GET", path, "connection: close\r\n");
    let mut stream = connected(server, &request).await;
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    answer
}

/// A command, a query that waits for it, and health.
async fn goes_on(server: &Server, workspace: Uuid) {
    let created = server.command("portfolio.project.create", &create(workspace)).await.expect(201);
    let projects = format!("/v1/queries/portfolio.projects?workspace_id={workspace}");
    let asked = server.request(Method::GET, &projects).header("x-request-timeout", "20s");
    send(asked.header("consistency-token", created.header("consistency-token"))).await.expect(200);
    send(server.anonymous(Method::GET, "/livez")).await.expect(200);
}

async fn all_room_is_taken_by_silent_ones(server: &Server, connections: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..connections {
        silent.push(connected(server, "").await);
    }
    silent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_keep_nobody_out() {
    let server = small().await;
    let workspace = server.workspace().await;
    let silent = all_room_is_taken_by_silent_ones(&server, CONNECTIONS * 3).await;
    for path in ["/livez", "/readyz", "/v1/queries"] {
        let answer = asks_anew(&server, path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    goes_on(&server, workspace).await;
    // The oldest of them made room; nothing else did.
    let mut first = silent.into_iter().next().unwrap();
    assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_answered_where_every_connection_has_a_request_under_way() {
    // As many as one tenant may have batches.
    let connections = annals_api::limits::BATCHES_MAX / 2;
    let shape = Shape { connections: Some(connections), ..Shape::default() };
    let server = Server::start_as(MemoryLog::new(&contexts()), shape).await;
    let chunked = "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n";
    let mut busy = Vec::new();
    for _ in 0..connections {
        let mut stream = connected(&server, &head(&server, "POST", "/v1/commands", chunked)).await;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(status, *b"HTTP/1.1 200");
        busy.push(stream);
    }
    // Silent ones stand in the reserve for a moment only, however many there are.
    let silent = all_room_is_taken_by_silent_ones(&server, annals_api::limits::CONNECTIONS_RESERVED * 5).await;
    // Those that take the places of these are told no: they must not be busy there as well.
    for _ in 0..annals_api::limits::CONNECTIONS_RESERVED * 2 {
        busy.push(connected(&server, &head(&server, "POST", "/v1/commands", chunked)).await);
    }
    for path in ["/livez", "/readyz", "/startupz"] {
        let answer = asks_anew(&server, path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let refused = asks_anew(&server, "/v1/queries").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("connection: close"), "{refused}");
    drop((busy, silent));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_come_take_no_place_where_work_is_done() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let mut open = Vec::new();
    for (count, length) in [(600, 100), (200, 200_000)] {
        let more = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
        let head = head(&server, "POST", "/v1/commands/portfolio.project.create", &more);
        for _ in 0..count {
            open.push(connected(&server, &head).await);
        }
    }
    send(strangers_workspace(&server)).await.expect(201);
    goes_on(&server, workspace).await;
    server.stop().await;
    drop(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_without_commands_give_way_and_one_tenant_cannot_have_them_all() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let chunked = "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n";
    let head = head(&server, "POST", "/v1/commands", chunked);
    let mut open = Vec::new();
    loop {
        let asked = Instant::now();
        let mut stream = connected(&server, &head).await;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        if status != *b"HTTP/1.1 200" {
            assert_eq!(status, *b"HTTP/1.1 503");
            // Whoever is told off at once comes back at once.
            assert!(asked.elapsed() >= Duration::from_millis(annals_api::limits::TOLD_OFF_PAUSE_MS));
            break;
        }
        open.push(stream);
    }
    assert_eq!(open.len(), annals_api::limits::BATCHES_MAX / 2);
    let post = server.stranger(Method::POST, "/v1/commands").header("content-type", "application/x-ndjson");
    send(post.body("")).await.expect(200);
    goes_on(&server, workspace).await;
    // Newlines are no commands.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        for stream in &mut open {
            let _ = stream.write_all(b"1\r\n\n\r\n").await;
        }
        if server.batch("").await.status == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "none gave way");
    }
    let mut first = String::new();
    open[0].read_to_string(&mut first).await.unwrap();
    assert!(first.contains("overloaded") && first.contains("send it again"), "{first}");
    drop(open);
    server.stop().await;
}
