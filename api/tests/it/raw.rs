//! What only a client that writes its own bytes sends.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::{Server, rename};

/// What comes back until the server closes the connection, or has said nothing for a moment.
async fn answered(server: &Server, request: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut answer, mut closed) = (Vec::new(), false);
    while let Ok(read) = tokio::time::timeout(Duration::from_millis(1_500), stream.read_buf(&mut answer)).await {
        closed = read.unwrap() == 0;
        if closed {
            break;
        }
    }
    (String::from_utf8(answer).unwrap(), closed)
}

fn problem(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test]
async fn a_head_that_can_be_understood_in_two_ways_or_is_too_large_is_refused_with_a_problem() {
    let server = Server::start().await;
    let post = "POST /v1/commands/portfolio.project.create HTTP/1.1\r\nhost: x\r\n";
    let chunk = "2\r\n{}\r\n0\r\n\r\n";
    let large = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "x".repeat(40 << 10));
    let cases = [
        ("GET /livez HTTP/1.1\r\n\r\n".to_owned(), 400, "invalid-header"),
        ("GET /livez HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n".to_owned(), 400, "invalid-header"),
        (format!("{post}transfer-encoding: gzip, chunked\r\n\r\n{chunk}"), 501, "unknown-transfer-coding"),
        (format!("{post}transfer-encoding: chunked, chunked\r\n\r\n{chunk}"), 400, "invalid-header"),
        (large, 431, "head-too-large"),
    ];
    for (request, status, kind) in cases {
        let (answer, _) = answered(&server, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.200}: {answer}");
        assert_eq!(problem(&answer)["type"], format!("urn:annals:problem:{kind}"), "{answer}");
    }
    // Not asked for in HTTP/1.0; and 31 KiB are fewer than 32.
    let (answer, _) = answered(&server, "GET /livez HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let fits = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "x".repeat(31 << 10));
    assert!(answered(&server, &fits).await.0.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_hyper_refuses_before_anybody_is_asked_gets_a_problem_too() {
    let server = Server::start().await;
    let large = |bytes: usize| format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "x".repeat(bytes));
    let many: String = (0..101).map(|at| format!("x-{at}: 1\r\n")).collect();
    let cases = [
        ("hello\r\n\r\n".to_owned(), 400, "malformed-head"),
        ("GET /livez HTTP/9.9\r\nhost: x\r\n\r\n".to_owned(), 400, "malformed-head"),
        ("G@T /livez HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 400, "malformed-head"),
        ("GET /live{z} \u{7f} HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 400, "malformed-head"),
        ("GET /livez HTTP/1.1\r\nhost: x\r\nno header\r\n\r\n".to_owned(), 400, "malformed-head"),
        ("GET /livez HTTP/1.1\r\nhost: x\r\nx: \u{1}\r\n\r\n".to_owned(), 400, "malformed-head"),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n".to_owned(), 400, "malformed-head"),
        (format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431, "head-too-large"),
        (large(200 << 10), 431, "head-too-large"),
    ];
    let good = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    for (request, status, kind) in cases {
        // Alone, and behind a request that is answered.
        for before in ["", good] {
            let (answers, closed) = answered(&server, &format!("{before}{request}")).await;
            let at = answers.rfind("HTTP/1.1 4").unwrap_or_else(|| panic!("{request:.200}: {answers}"));
            let (before_it, answer) = answers.split_at(at);
            assert_eq!(before_it.starts_with("HTTP/1.1 200 "), !before.is_empty(), "{request:.200}: {answers}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && closed, "{request:.200}: {answer}");
            for header in
                ["content-type: application/problem+json", "contract-version: 1", "connection: close", "date: "]
            {
                assert_eq!(answer.matches(&format!("\r\n{header}")).count(), 1, "{header}: {answer}");
            }
            assert_eq!(answer.matches("content-length: ").count(), 1, "{answer}");
            assert_eq!(problem(answer)["type"], format!("urn:annals:problem:{kind}"), "{answer}");
            assert_eq!(problem(answer)["status"], status, "{answer}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_before_the_body_was_read_announces_the_end_of_the_connection_and_arrives() {
    let server = Server::start().await;
    let body = "x".repeat(200_000);
    let head = |token: &str, length: usize| {
        format!(
            "POST /v1/commands/portfolio.project.create HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    for (token, length, status) in [("x", body.len(), 401), (server.token(), 300_000, 413)] {
        let (answer, closed) = answered(&server, &(head(token, length) + &body)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("connection: close\r\n") && closed, "{answer}");
        assert_eq!(problem(&answer)["status"], status);
    }
    // What was read whole ends nothing.
    let (answer, closed) = answered(&server, &(head(server.token(), 2) + "{}")).await;
    assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains("connection: close") && !closed, "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_client_reads_only_when_it_has_sent_everything_is_answered() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    let mut last = rename(workspace, project, "n1");
    last["type"] = "portfolio.project.rename".into();
    // More lines and more answers than the buffers of both sides hold; the system would let this side's grow.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.set_send_buffer_size(64 << 10).unwrap();
    let unknown = format!("{{\"type\":\"portfolio.project.vanish\",\"payload\":\"{}\"}}\n", "x".repeat(400));
    let lines = unknown.repeat(50_000) + &format!("{last}\n");
    let request = format!(
        "POST /v1/commands HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{lines}",
        server.token(),
        lines.len(),
    );
    let mut stream = socket.connect(server.address().parse().unwrap()).await.unwrap();
    let sent = tokio::time::timeout(Duration::from_secs(60), stream.write_all(request.as_bytes())).await;
    sent.expect("the server reads on").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.matches("\"unknown-command\"").count() + answer.matches(":unknown-command").count(), 50_000);
    assert!(answer.contains("\"line\":50001"), "{}", &answer[answer.len() - 2_000..]);
    server.stop().await;
}
