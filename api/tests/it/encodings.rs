//! Bodies that travel compressed.

use std::io::{Read as _, Write as _};

use annals_api::limits;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Server, new_id, send};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn workspace(slug: &str) -> Vec<u8> {
    json!({ "client_request_id": new_id(), "payload": { "name": "Home", "slug": slug } }).to_string().into_bytes()
}

#[tokio::test]
async fn packed_bodies_are_unpacked_and_those_that_are_not_what_they_say_are_refused() {
    let server = Server::start().await;
    let create = |encoding: &'static str, body: Vec<u8>| {
        let request = server.request(Method::POST, "/v1/commands/access.workspace.create");
        send(request.header("content-type", "application/json").header("content-encoding", encoding).body(body))
    };
    create("gzip", gzip(&workspace("gzip"))).await.expect(201);
    create("zstd", zstd::encode_all(workspace("zstd").as_slice(), 3).unwrap()).await.expect(201);
    create("identity", workspace("identity")).await.expect(201);
    assert_eq!(create("gzip", workspace("plain")).await.expect(400).problem(), "malformed-json");
    for unknown in ["br", "deflate", "gzip, gzip", "GZIP", ""] {
        let answer = create(unknown, gzip(&workspace("unknown"))).await.expect(415);
        assert_eq!(answer.problem(), "unsupported-media-type");
        assert_eq!(
            (answer.header("accept-encoding"), &answer.json()["field"]),
            ("gzip, zstd", &json!("Content-Encoding"))
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn the_bound_of_a_body_holds_for_what_is_unpacked() {
    let server = Server::start().await;
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < limits::BODY_BYTES_MAX);
    let request = server.request(Method::POST, "/v1/commands/access.workspace.create");
    let request = request.header("content-type", "application/json").header("content-encoding", "gzip").body(bomb);
    assert_eq!(send(request).await.expect(413).problem(), "too-large");
    server.stop().await;
}

#[tokio::test]
async fn a_packed_batch_is_answered_line_by_line() {
    let server = Server::start().await;
    let line = |slug: &str| {
        let mut line: Value = serde_json::from_slice(&workspace(slug)).unwrap();
        line["type"] = "access.workspace.create".into();
        format!("{line}\n")
    };
    let lines: String = (0..200).map(|n| line(&format!("w-{n}"))).collect();
    let request = server.request(Method::POST, "/v1/commands").header("accept-encoding", "gzip");
    let request = request.header("content-type", "application/x-ndjson").header("content-encoding", "gzip");
    let answer = send(request.body(gzip(lines.as_bytes()))).await.expect(200);
    assert!(!answer.headers.contains_key("content-encoding"), "a packer would hold lines back");
    assert_eq!(answer.lines().iter().filter(|line| line["status"] == 201).count(), 200);
    server.stop().await;
}

#[tokio::test]
async fn answers_are_packed_for_those_who_ask_and_large_enough() {
    let server = Server::start().await;
    let plain = server.get("/v1/queries").await.expect(200);
    assert!(!plain.headers.contains_key("content-encoding") && plain.text.len() > 1_024);
    let request = server.request(Method::GET, "/v1/queries").header("accept-encoding", "gzip");
    let packed = request.send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let (mut text, bytes) = (String::new(), packed.bytes().await.unwrap());
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain.text);
    let small = server.request(Method::GET, "/v1/queries/none").header("accept-encoding", "gzip");
    assert!(!send(small).await.expect(404).headers.contains_key("content-encoding"));
    server.stop().await;
}
