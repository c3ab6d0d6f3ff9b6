use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use annals_api::{Api, ServeError};

use crate::server::{Server, header, send};

#[tokio::test]
async fn health_needs_no_token_and_tells_alive_from_ready() {
    let server = Server::start().await;
    for path in ["/livez", "/readyz", "/startupz"] {
        let answer = send(server.anonymous(reqwest::Method::GET, path)).await.expect(200).json();
        assert_eq!((&answer["status"], &answer["contract_version"]), (&"ok".into(), &"1.0".into()), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_keeps_its_id_in_the_answer() {
    let server = Server::start().await;
    let request = server.anonymous(reqwest::Method::GET, "/livez").headers(header("x-request-id", "r-1"));
    assert_eq!(send(request).await.expect(200).header("x-request-id"), "r-1");
    server.stop().await;
}

#[tokio::test]
async fn only_loopback_is_served() {
    let server = Server::start().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let api = Api::new(server.options.clone());
    let refused = annals_api::serve(listener, api, std::future::pending()).await;
    assert!(matches!(refused, Err(ServeError::NotLoopback(_))), "{refused:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_http_is_answered_or_cut_and_the_server_goes_on() {
    let server = Server::start().await;
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let huge_head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-big: {}\r\n\r\n", "x".repeat(100_000));
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", huge_head.as_bytes()]
    {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // The server may cut the connection before it has taken all of it.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    server.get("/readyz").await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_command() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let ends = server.ends().await;
    let body =
        format!("{{\"client_request_id\":\"x\",\"workspace_id\":\"{workspace}\",\"payload\":{{\"name\":\"n\"}}}}");
    let head = format!(
        "POST /v1/commands/portfolio.project.create HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        server.token(),
        body.len() + 1,
    );
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{text}");
    assert_eq!(server.ends().await, ends);
    server.stop().await;
}
