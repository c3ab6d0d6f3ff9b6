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
pub(crate) fn many(directory: &Path, commands: usize) -> PathBuf {
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
    let import = |more: &[&str]| {
        let own = own_lock();
        let arguments = ["import", "cargo-lock", &own, "--workspace-slug", "own", "-o", "json"];
        server.run(&[&arguments[..], more].concat()).exits(0).json()
    };
    let planned = import(&["--dry-run"]);
    let first = import(&[]);
    let commands = ["applications", "releases", "edges"].iter().map(|name| first[*name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((&first["accepted"], &first["replayed"], &first["refused"]), (&json!(commands), &json!(0), &json!(0)));
    for (change, of_file) in [("registered", "applications"), ("released", "releases"), ("declared", "edges")] {
        assert_eq!((&first[change], &planned[change]), (&first[of_file], &first[of_file]), "{change}");
    }
    assert!(first["edges_merged"].as_u64().unwrap() > 0);
    let before = events(&server.data());
    let second = import(&[]);
    assert_eq!(
        (&second["accepted"], &second["replayed"], &second["unchanged"]),
        (&json!(0), &json!(0), &json!(commands))
    );
    let added = import(&["--add-only"]);
    assert_eq!((&added["accepted"], &added["replayed"], &added["events"]), (&json!(0), &json!(commands), &json!(0)));
    assert_eq!(events(&server.data()), before);
    assert_eq!(before, commands + 1, "one event per command, and the workspace");
}

/// A lock file of these packages, each with its dependencies.
fn lock(packages: &[(&str, &[&str])]) -> String {
    let package = |(name, needs): &(&str, &[&str])| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\ndependencies = {needs:?}\n")
    };
    format!("version = 4\n{}", packages.iter().map(package).collect::<String>())
}

#[test]
fn an_import_brings_the_workspace_to_what_the_file_says() {
    let server = Server::start();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("Cargo.lock");
    let import = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let ran = server.run(&["import", "cargo-lock", file.to_str().unwrap(), "--workspace-slug", "w", "-o", "json"]);
        let report = ran.exits(0).json();
        ["registered", "released", "declared", "withdrawn", "retired"]
            .map(|change| report[change].as_u64().unwrap_or(0))
    };
    let token = || {
        let view = ["history", "portfolio.application", "app", "--workspace", "w", "-o", "json"];
        server.run(&view).exits(0).json()
    };
    let full = lock(&[("app", &["left", "right"]), ("left", &["right"]), ("right", &[])]);
    let less = lock(&[("app", &["left"]), ("left", &[])]);
    assert_eq!(import(&full), [3, 3, 3, 0, 0]);
    // Taken away by hand, as if it were not in the file.
    let edges = server.run(&["query", "portfolio.dependencies", "--workspace", "w", "-o", "json"]).exits(0).json();
    let edge = edges["rows"][0]["id"].as_str().unwrap();
    server.run(&["command", "send", "portfolio.dependency.withdraw", "--workspace", "w", "--id", edge]).exits(0);
    assert_eq!(import(&full), [0, 0, 1, 0, 0], "it comes back");
    // A package leaves the file, and returns.
    assert_eq!(import(&less), [0, 0, 0, 2, 1]);
    assert_eq!(import(&less), [0; 5]);
    let rows = || {
        let rows = server.run(&["query", "portfolio.applications", "--workspace", "w", "-o", "json"]).exits(0).json();
        let rows = rows["rows"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| format!("{} {}", row["name"].as_str().unwrap(), row["status"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(import(&full), [1, 1, 2, 0, 0]);
    assert_eq!(import(&full), [0; 5], "the read model was waited for");
    let mut found = rows();
    found.sort();
    assert_eq!(found, ["app active", "left active", "right active", "right retired"]);
    assert_eq!(token().as_array().unwrap().len(), 2);
    server.run(&["log", "verify"]).exits(0);
}

#[test]
fn what_is_no_lock_file_or_no_utf_8_exits_2_and_sends_nothing() {
    let server = Server::start();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("file");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (bytes, words) in [
        (&b""[..], "is no Cargo.lock: it names no package"),
        (b"a = 1\n", "is nothing that Cargo writes there"),
        (b"# M\xfcller\n", "line 1 is not UTF-8"),
        (&std::fs::read(manifest).unwrap(), "is no Cargo.lock"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let ran = server.run(&["import", "cargo-lock", file.to_str().unwrap()]).exits(2);
        assert!(ran.stderr().contains(words), "{}", ran.stderr());
    }
    let directory = files.path().to_str().unwrap();
    for source in ["cargo-lock", "ndjson"] {
        let ran = server.run(&["import", source, directory]).exits(2);
        assert!(ran.stderr().contains("is a directory; name a file"), "{}", ran.stderr());
    }
    std::fs::write(&file, b"{\"name\": \"M\xfcller\"}").unwrap();
    let payload = format!("@{}", file.display());
    let ran = server.run(&["command", "send", "access.workspace.create", "--payload", &payload]).exits(2);
    assert!(ran.stderr().contains("line 1 is not UTF-8"), "{}", ran.stderr());
    assert_eq!(events(&server.data()), 0);
}

#[test]
fn a_payload_and_a_file_may_begin_with_the_mark_of_utf_8() {
    let server = Server::start();
    let files = tempfile::tempdir().unwrap();
    let (payload, file) = (files.path().join("payload.json"), files.path().join("commands.ndjson"));
    std::fs::write(&payload, "\u{feff}{\"name\": \"A\", \"slug\": \"a\"}").unwrap();
    let payload = format!("@{}", payload.display());
    server.run(&["command", "send", "access.workspace.create", "--payload", &payload]).exits(0);
    let line =
        |slug: &str| json!({"type": "access.workspace.create", "payload": {"name": slug, "slug": slug}}).to_string();
    std::fs::write(&file, format!("\u{feff}{}\r\n{}\r\n", line("b"), line("c"))).unwrap();
    let report = server.run(&["import", "ndjson", file.to_str().unwrap(), "-o", "json"]).exits(0).json();
    assert_eq!((&report["accepted"], &report["refused"]), (&json!(2), &json!(0)));
}

#[test]
fn corrected_lines_are_sent_and_the_others_are_answered_and_not_repeated() {
    let server = Server::start();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("commands.ndjson");
    let line =
        |slug: &str| json!({"type": "access.workspace.create", "payload": {"name": slug, "slug": slug}}).to_string();
    let import = |bytes: &[u8], code: i32| {
        std::fs::write(&file, bytes).unwrap();
        let ran = server.run(&["import", "ndjson", file.to_str().unwrap(), "-o", "json"]).exits(code);
        ["accepted", "replayed", "refused"].map(|name| ran.json()[name].as_u64().unwrap())
    };
    let mut bytes = format!("{}\n{}\n", line("a"), line("Not a slug")).into_bytes();
    bytes.extend(b"{\"type\": \"access.workspace.create\", \"payload\": {\"name\": \"M\xfcller\", \"slug\": \"m\"}}\n");
    bytes.extend(line("d").into_bytes());
    assert_eq!(import(&bytes, 5), [2, 0, 2]);
    assert_eq!(events(&server.data()), 2, "nothing is recorded of a line that is not UTF-8");
    // Corrected, one added before them, the order changed, and saved by another editor.
    let corrected = ["new", "d", "b", "m", "a"].map(line).join("\r\n");
    assert_eq!(import(format!("\u{feff}{corrected}").as_bytes(), 0), [3, 2, 0]);
    assert_eq!(events(&server.data()), 5);
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
