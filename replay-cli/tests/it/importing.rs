//! Imports: twice, interrupted, cut off by a dead server, partly refused.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server::{Server, annals, run, signal, wait_until};

fn own_lock() -> String {
    format!("{}/../Cargo.lock", env!("CARGO_MANIFEST_DIR"))
}

/// A file with so many commands that it takes a while.
fn many(directory: &Path, commands: usize) -> PathBuf {
    let file = directory.join("commands.ndjson");
    let line = |n: usize| {
        json!({"type": "access.workspace.create", "payload": {"name": n.to_string(), "slug": format!("w{n}")}})
            .to_string()
    };
    std::fs::write(&file, (0..commands).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    file
}

fn events(data: &Path) -> u64 {
    let stats = run(data, &["log", "stats", "-o", "json"]).exits(0).json();
    stats["events"].as_array().unwrap().iter().map(|row| row["events"].as_u64().unwrap()).sum()
}

#[test]
fn a_lock_file_imported_twice_repeats_nothing() {
    let server = Server::start();
    let import =
        || server.run(&["import", "cargo-lock", &own_lock(), "--workspace-slug", "own", "-o", "json"]).exits(0).json();
    let first = import();
    let commands = ["applications", "releases", "edges"].iter().map(|name| first[*name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((&first["accepted"], &first["replayed"], &first["refused"]), (&json!(commands), &json!(0), &json!(0)));
    assert!(first["edges_merged"].as_u64().unwrap() > 0);
    let before = events(&server.data());
    let second = import();
    assert_eq!((&second["accepted"], &second["replayed"], &second["events"]), (&json!(0), &json!(commands), &json!(0)));
    assert_eq!(events(&server.data()), before);
    assert_eq!(before, commands + 1, "one event per command, and the workspace");
}

#[test]
fn an_import_cut_off_by_a_killed_server_is_resumed_and_repeats_nothing() {
    let server = Server::start();
    let files = tempfile::tempdir().unwrap();
    let file = many(files.path(), 20_000);
    let file = file.to_str().unwrap();
    let import = annals(&server.data(), &["import", "ndjson", file, "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the import has begun", || events(&server.data()) > 0);
    let directory = server.kill();
    let cut = import.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert_eq!(cut.status.code(), Some(2), "{words}");
    assert!(words.contains("run the same command again"), "{words}");
    let cut: Value = serde_json::from_slice(&cut.stdout).unwrap();
    let acknowledged = cut["accepted"].as_u64().unwrap();
    let durable = events(directory.path());
    assert!((acknowledged..20_000).contains(&durable), "{acknowledged} acknowledged, {durable} in the log");

    let server = Server::on(directory, &[]);
    let resumed = server.run(&["import", "ndjson", file, "-o", "json"]).exits(0).json();
    assert_eq!((&resumed["replayed"], &resumed["accepted"]), (&json!(durable), &json!(20_000 - durable)));
    assert_eq!(events(&server.data()), 20_000);
    server.run(&["log", "verify"]).exits(0);
}

#[test]
fn an_interrupted_import_exits_130_and_says_how_to_resume() {
    let server = Server::start();
    let files = tempfile::tempdir().unwrap();
    let file = many(files.path(), 20_000);
    let import = annals(&server.data(), &["import", "ndjson", file.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the import has begun", || events(&server.data()) > 0);
    signal(import.id(), Signal::SIGINT);
    let ended = import.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{words}");
    assert!(words.contains("run the same command again"), "{words}");
}

#[test]
fn refused_lines_are_named_and_exit_5() {
    let server = Server::start();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("commands.ndjson");
    let lines = [
        r#"{"type": "access.workspace.create", "payload": {"name": "A", "slug": "a"}}"#,
        r#"{"type": "access.workspace.create", "payload": {"name": "B", "slug": "Not a slug"}}"#,
        "",
        "not json",
        r#"{"type": "access.workspace.create", "payload": {"name": "C", "slug": "a"}}"#,
        r#"{"type": "access.workspace.create", "payload": {"name": "D", "slug": "d"}}"#,
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let ran = server.run(&["import", "ndjson", file.to_str().unwrap(), "-o", "json"]).exits(5);
    let report = ran.json();
    assert_eq!((&report["accepted"], &report["refused"]), (&json!(2), &json!(3)));
    let named: Vec<&str> =
        report["refusals"].as_array().unwrap().iter().map(|refusal| refusal["line"].as_str().unwrap()).collect();
    assert_eq!(named, ["line 2", "line 4", "line 5"]);
    assert!(ran.stderr().contains("line 4"), "{}", ran.stderr());
}
