//! What the night operator sees while read models are in trouble: commands go on, and what is wrong is said, the same for
//! every kind of trouble and in both stores.

use annals_platform::application;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use annals_dev::postgres;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server::{Server, annals, newest_of, newest_version, read_models, run, signal, wait_until};

/// `GET` of a path without a token; its status and all of the answer.
fn get(server: &Server, path: &str) -> (u16, String) {
    get_with(server, path, "")
}

fn get_as_operator(server: &Server, path: &str) -> (u16, String) {
    let token = endpoint(server)["token"].as_str().unwrap().to_owned();
    get_with(server, path, &format!("Authorization: Bearer {token}\r\n"))
}

fn endpoint(server: &Server) -> Value {
    serde_json::from_slice(&std::fs::read(server.data().join("endpoint.json")).unwrap()).unwrap()
}

fn get_with(server: &Server, path: &str, header: &str) -> (u16, String) {
    let endpoint = endpoint(server);
    let address = endpoint["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

const PASSES: &str = "is behind or cannot be read now";
const LASTS: &str = "is down until somebody mends it";

/// Waits until the read model is in such a trouble, or all are in none; commands can be sent all the while. The cause is told
/// to those who may know it, and nothing of it to those without a token.
#[track_caller]
fn troubled(server: &Server, trouble: Option<(&str, &str)>) {
    wait_until(&format!("{trouble:?}"), || {
        let (ready, told) = get(server, "/readyz");
        assert_eq!(ready, 200, "{told}");
        let (status, body) = get(server, "/readyz?read_models");
        let Some((state, cause)) = trouble else { return status == 200 };
        let known = cause_known(server);
        status == 503 && body.contains(&format!("read model portfolio {state}")) && known.contains(cause) && {
            let waiting: Value = serde_json::from_str(body.split_once("\r\n\r\n").unwrap().1).unwrap();
            let of = |name| [PASSES, LASTS].map(|state| format!("read model {name} {state}"));
            let states: Vec<String> = read_models().into_iter().flat_map(of).collect();
            let told = waiting["waiting_for"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
            told.for_each(|line| assert!(states.iter().any(|state| state == line), "{line}"));
            true
        }
    });
}

/// Why the read model is in trouble, as an operator is told; empty where it is in none.
fn cause_known(server: &Server) -> String {
    let (status, body) = get_as_operator(server, "/v1/read-models");
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(body.split_once("\r\n\r\n").unwrap().1).unwrap();
    let of_model = body["read_models"].as_array().unwrap().iter().find(|model| model["name"] == "portfolio").unwrap();
    of_model["trouble"]["cause"].as_str().unwrap_or_default().to_owned()
}

fn send(server: &Server, name: &str) {
    let payload = json!({ "name": name, "slug": name }).to_string();
    server.run(&["command", "send", "access.workspace.create", "--payload", &payload]).exits(0);
}

/// As docs/operations.md says.
fn build_anew(server: &Server) {
    let built = server.run(&["rebuild", "portfolio", "--yes", "-o", "json"]).exits(0).json();
    server.run(&["verify", "portfolio", "--generation", &built["generation"].to_string()]).exits(0);
    server.run(&["promote", "portfolio"]).exits(0);
    troubled(server, None);
    server.run(&["verify", "portfolio"]).exits(0);
}

/// The line of the live generation, and what is advised.
fn status(server: &Server) -> (Value, Value) {
    let status = server.run(&["status", "-o", "json"]).exits(0).json();
    let of_model = |line: &&Value| line["read_model"] == "portfolio" && line["state"] == "live";
    (status["generations"].as_array().unwrap().iter().find(of_model).unwrap().clone(), status["advice"].clone())
}

fn damage(path: &Path, how: &str) {
    let whole = std::fs::read(path).unwrap();
    match how {
        "missing" => std::fs::remove_file(path).unwrap(),
        "empty" => std::fs::write(path, b"").unwrap(),
        "garbage" => std::fs::write(path, [0x5a; 9_000]).unwrap(),
        _ => std::fs::write(path, &whole[..whole.len() / 2]).unwrap(),
    }
}

#[test]
fn a_server_takes_commands_whatever_a_live_generations_file_is_like_and_names_it_once() {
    for how in ["missing", "empty", "garbage", "half"] {
        let server = Server::start();
        send(&server, "one");
        let (code, directory) = server.stop();
        assert_eq!(code, Some(0));
        damage(&directory.path().join("read-models/portfolio/gen-1.db"), how);
        let said = directory.path().join("said");
        let server = Server::with_stderr(directory, &[], File::create(&said).unwrap().into());
        let errors = || std::fs::read_to_string(&said).unwrap().lines().filter(|line| line.contains("ERROR")).count();
        // Before it was ready.
        assert_eq!(errors(), 1, "{how}: {}", std::fs::read_to_string(&said).unwrap());
        let generation = format!("portfolio v{} generation 1", newest_version("portfolio"));
        troubled(&server, Some((LASTS, generation.as_str())));
        send(&server, "two");
        let (live, advice) = status(&server);
        assert!(live["trouble"].as_str().unwrap().contains("rebuild the read model"), "{how}: {live}");
        let of_model: Vec<_> =
            advice.as_array().unwrap().iter().filter(|one| one["read_model"] == "portfolio").collect();
        assert_eq!(of_model.len(), 1, "{how}: {advice}");
        assert_eq!(of_model[0]["remedy"], "annals rebuild portfolio", "{how}: {advice}");
        build_anew(&server);
        assert_eq!(errors(), 1, "{how}: {}", std::fs::read_to_string(&said).unwrap());
        assert_eq!(status(&server).0["trouble"], Value::Null, "{how}");
    }
}

#[test]
fn a_live_generations_file_that_goes_while_a_server_runs_is_noticed() {
    let server = Server::start();
    send(&server, "one");
    troubled(&server, None);
    std::fs::remove_file(server.data().join("read-models/portfolio/gen-1.db")).unwrap();
    troubled(&server, Some((LASTS, "its file is missing")));
    assert!(status(&server).0["trouble"].as_str().unwrap().contains("its file is missing"));
    build_anew(&server);
}

#[test]
fn a_server_takes_commands_while_postgresql_refuses_hangs_or_has_lost_a_schema() {
    let mut postgres = postgres::Server::start().unwrap();
    let database = postgres.fresh_database().unwrap();
    let server = Server::on(tempfile::tempdir().unwrap(), &["--read-models", &database.url]);
    send(&server, "one");
    troubled(&server, None);
    postgres.pause().unwrap();
    troubled(&server, Some((PASSES, "does not answer within")));
    send(&server, "two");
    // Whoever looks sees that as well, and is not kept.
    let shown = server.run(&["status", "-o", "json"]).exits(1).json();
    for (line, name) in shown["generations"].as_array().unwrap().iter().zip(read_models()) {
        let trouble = line["trouble"].as_str().unwrap_or_default();
        assert!(line["read_model"] == name && trouble.contains(" answer ") && trouble.contains("within"), "{shown}");
    }
    assert_eq!(shown["generations"].as_array().unwrap().len(), read_models().len(), "{shown}");
    assert!(shown["advice"][0]["remedy"].as_str().unwrap().starts_with("see to the cause"), "{shown}");
    postgres.resume().unwrap();
    troubled(&server, None);
    postgres.kill().unwrap();
    troubled(&server, Some((PASSES, "")));
    send(&server, "three");
    postgres.restart().unwrap();
    troubled(&server, None);
    postgres.sql(&database.name, "DROP SCHEMA portfolio_g1 CASCADE").unwrap();
    troubled(&server, Some((LASTS, "portfolio_g1")));
    send(&server, "four");
    let (live, advice) = status(&server);
    assert!(live["trouble"].as_str().unwrap().contains("rebuild the read model"), "{live}");
    assert_eq!(advice[0]["remedy"], "annals rebuild portfolio", "{advice}");
    build_anew(&server);
}

#[test]
fn a_registry_that_cannot_be_read_ends_the_start_with_3_and_the_remedy() {
    let (_, directory) = Server::start().stop();
    let registry = directory.path().join("read-models/registry.db");
    std::fs::write(&registry, [0x5a; 9_000]).unwrap();
    // Whoever ends leaves it behind where its last connection had no time to close: it would have all pages whole.
    for beside in ["registry.db-wal", "registry.db-shm"] {
        drop(std::fs::remove_file(registry.with_file_name(beside)));
    }
    let ended = run(directory.path(), &["up"]).exits(3);
    assert!(ended.stderr().contains("registry of read models is damaged"), "{}", ended.stderr());
    assert!(ended.stderr().contains("remove"), "{}", ended.stderr());
    std::fs::remove_dir_all(directory.path().join("read-models")).unwrap();
    let server = Server::on(directory, &[]);
    server.run(&["verify"]).exits(0);
}

#[test]
fn a_rebuild_that_was_killed_is_shown_as_dead_and_begun_anew() {
    let server = Server::start();
    let lock = format!("{}/../Cargo.lock", env!("CARGO_MANIFEST_DIR"));
    server.run(&["import", "cargo-lock", &lock]).exits(0);
    let mut building = annals(&server.data(), &["rebuild", "portfolio", "--yes", "--throttle", "20"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let newest = || {
        let status = server.run(&["status", "-o", "json"]).exits(0).json();
        (newest_of(&status, "portfolio").clone(), status["advice"].clone())
    };
    wait_until("the rebuild has begun", || newest().0["state"] == "building");
    assert!(server.run(&["plan", "portfolio"]).exits(0).stdout().contains("is being built by another process"));
    signal(building.id(), Signal::SIGKILL);
    building.wait().unwrap();
    let (dead, advice) = newest();
    assert_eq!((&dead["state"], &advice[0]["remedy"]), (&json!("dead"), &json!("annals rebuild portfolio")));
    assert!(server.run(&["status"]).exits(0).stdout().contains("dead"));
    assert!(server.run(&["plan", "portfolio"]).exits(0).stdout().contains("by a builder that died"));
    let built = server.run(&["rebuild", "portfolio", "--yes", "-o", "json"]).exits(0).json();
    assert_eq!(built["generation"], dead["generation"]);
    let verified = server.run(&["verify", "portfolio", "--generation", &dead["generation"].to_string(), "-o", "json"]);
    // Two commands count the same.
    assert_eq!(verified.exits(0).json()[0]["rows"], built["rows"]);
}

#[test]
fn status_names_the_processes_and_what_they_own_and_keep() {
    let server = Server::start();
    let pid = server.id();
    let processes = |data: &Path| run(data, &["status", "-o", "json"]).exits(0).json()["processes"].clone();
    let contexts = application().contexts;
    let owned: Vec<String> = contexts.iter().map(|context| format!("{}/0-3", context.id().name)).collect();
    wait_until("it tells what it owns", || {
        let told = processes(&server.data());
        told[0]["owns"].as_array().is_some_and(|owns| owns.len() == owned.len())
    });
    let told = processes(&server.data());
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!((&told[0]["kind"], &told[0]["pid"], &told[0]["alive"]), (&json!("node"), &json!(pid), &json!(true)));
    assert_eq!(told[0]["owns"], json!(owned));
    assert_eq!(told[0]["runs"], json!(read_models()));
    assert!(server.run(&["status"]).exits(0).stdout().contains("portfolio/0-3"));
    // Who ends in good order is not missed; who is killed is, for a while.
    let (_, directory) = server.stop();
    assert_eq!(processes(directory.path()), json!([]));
    let status = run(directory.path(), &["status", "-o", "json"]).exits(0).json();
    assert!(status["generations"].as_array().unwrap().iter().all(|line| line["runner"] == "none"), "{status}");
}

#[tokio::test]
async fn a_directory_from_before_a_context_and_its_read_models_is_looked_at_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let contexts = application().context_ids();
    let log = directory.path().join("log.db");
    SqliteLog::open(&log, &contexts[..1], SqliteOptions::default()).await.unwrap().close().await;
    let copy = directory.path().join("copy");
    let backup = ["log", "backup", copy.to_str().unwrap()];
    for line in
        [&["log", "verify"][..], &["log", "stats"], &backup[..], &["status"], &["plan", "portfolio"], &["verify"]]
    {
        let ended = run(directory.path(), line);
        let said = ended.stderr();
        ended.exits(0);
        assert_eq!(said.contains("portfolio is not begun yet"), line == ["verify"], "{line:?}: {said}");
    }
    // Who names one wants to know of it.
    run(directory.path(), &["verify", "portfolio"]).exits(1);
}
