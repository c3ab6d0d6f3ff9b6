//! Commands, queries and histories, and how their output reads.

use serde_json::{Value, json};

use crate::server::{Server, read_models};

const ID: &str = "6b0f5c0e-9c43-4a5e-a1d0-5d0f0c7b9a11";

fn with_application() -> (Server, String) {
    let server = Server::start();
    server
        .run(&["command", "send", "access.workspace.create", "--payload", r#"{"name": "Home", "slug": "home"}"#])
        .exits(0);
    let sent = server
        .run(&[
            "command",
            "send",
            "portfolio.application.register",
            "--workspace",
            "home",
            "--id",
            ID,
            "--payload",
            r#"{"name": "billing"}"#,
            "-o",
            "json",
        ])
        .exits(0)
        .json();
    assert_eq!(sent["replayed"], false);
    (server, sent["consistency_token"].as_str().unwrap().to_owned())
}

#[test]
fn a_command_is_answered_read_back_and_found_in_its_history() {
    let (server, token) = with_application();
    let query = ["query", "portfolio.applications", "--workspace", "home", "--consistency-token", &token];
    let page = server.run(&[&query[..], &["-o", "json"]].concat()).exits(0).json();
    assert_eq!(page["rows"][0]["name"], "billing");
    let table = server.run(&query).exits(0).stdout();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NAME") && lines[1].starts_with("billing"), "{table}");
    assert!(!table.contains(ID), "a table has no whole ids where there are names: {table}");
    let lines = server.run(&[&query[..], &["-o", "jsonl"]].concat()).exits(0).stdout();
    assert_eq!(serde_json::from_str::<Value>(lines.trim()).unwrap()["id"], ID);

    let history = ["history", "portfolio.application", ID, "--workspace", "home"];
    let events = server.run(&[&history[..], &["-o", "json"]].concat()).exits(0).json();
    assert_eq!(events[0]["event_type"], "application.registered");
    for mandatory in ["event_id", "emitted_at", "tenant_id", "workspace_id", "actor_id", "correlation_id"] {
        assert!(events[0][mandatory].is_string(), "{mandatory} of {}", events[0]);
    }
    let by_name = ["history", "portfolio.application", "billing", "--workspace", "home"];
    assert!(server.run(&by_name).exits(0).stdout().contains("application.registered"));
    server.run(&["history", "portfolio.application", "nobody", "--workspace", "home"]).exits(1);
    server.run(&["history", "portfolio.application", "billing"]).exits(2);
    server.run(&["history", "portfolio.project", "billing", "--workspace", "home"]).exits(2);
    server.run(&["history", "access.workspace", "home"]).exits(0);
}

#[test]
fn a_command_sent_again_is_answered_and_another_under_its_id_is_refused() {
    let (server, _) = with_application();
    let release = |number: &str| {
        let payload = json!({ "number": number }).to_string();
        server.run(&[
            "command",
            "send",
            "portfolio.application.release_version",
            "--workspace",
            "home",
            "--id",
            ID,
            "--payload",
            &payload,
            "--request-id",
            "release one",
            "-o",
            "json",
        ])
    };
    let first = release("1.0.0").exits(0).json();
    let again = release("1.0.0").exits(0).json();
    assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
    assert_eq!((&first["operation_id"], &first["events"]), (&again["operation_id"], &again["events"]));
    release("2.0.0").exits(1);
}

#[test]
fn a_version_conflict_exits_4_and_a_rule_exits_1() {
    let (server, _) = with_application();
    let send = |command: &str, more: &[&str]| {
        let fixed = ["command", "send", command, "--workspace", "home", "--id", ID];
        server.run(&[&fixed[..], more].concat())
    };
    let stale =
        send("portfolio.application.release_version", &["--payload", r#"{"number": "1"}"#, "--expected-version", "7"]);
    assert!(stale.exits(4).stderr().contains("version"));
    send("portfolio.application.register", &["--payload", r#"{"name": "billing"}"#]).exits(4);
    send("portfolio.application.retire", &[]).exits(0);
    send("portfolio.application.release_version", &["--payload", r#"{"number": "1"}"#]).exits(1);
    send("portfolio.application.release_version", &["--payload", r#"{"nummer": "1"}"#]).exits(2);
    server.run(&["history", "portfolio.application", ID, "--workspace", "nowhere"]).exits(1);
}

#[test]
fn pages_are_followed_to_the_end() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("workspaces.ndjson");
    let line = |n: usize| {
        json!({"type": "access.workspace.create", "payload": {"name": n.to_string(), "slug": format!("w{n:04}")}})
            .to_string()
    };
    std::fs::write(&file, (0..1_001).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let imported = server.run(&["import", "ndjson", file.to_str().unwrap(), "-o", "json"]).exits(0).json();
    let token = imported["consistency_token"].as_str().unwrap();
    let all = server
        .run(&["query", "access.workspaces", "--all", "-o", "jsonl", "--consistency-token", token])
        .exits(0)
        .stdout();
    let mut slugs: Vec<String> = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["slug"].as_str().unwrap().to_owned())
        .collect();
    slugs.dedup();
    assert_eq!(slugs.len(), 1_001);
    let page = server.run(&["query", "access.workspaces", "--limit", "3"]).exits(0);
    assert_eq!(page.stdout().lines().count(), 4);
    assert!(page.stderr().contains("--cursor"));
}

#[test]
fn queries_and_status_are_listed() {
    let server = Server::start();
    let queries = server.run(&["query", "-o", "json"]).exits(0).json();
    assert!(queries.as_array().unwrap().iter().any(|query| query["name"] == "portfolio.dependents"));
    let status = server.run(&["status", "-o", "json"]).exits(0).json();
    let live: Vec<&str> = status["generations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|g| g["state"] == "live")
        .map(|g| g["read_model"].as_str().unwrap())
        .collect();
    assert_eq!(live, read_models());
    assert_eq!(status["advice"], json!([]));
}

#[test]
fn the_commands_there_are_and_their_fields_are_shown() {
    let (server, _) = with_application();
    let listed = server.run(&["command", "list"]).exits(0).stdout();
    assert!(listed.contains("portfolio.application.register") && listed.contains("name (needed)"), "{listed}");
    let shown = server.run(&["command", "show", "portfolio.application.register"]).exits(0).stdout();
    for part in ["--workspace", "criticality", "low, medium, high, critical", "send 1 to 200 characters"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let entry = server.run(&["command", "show", "portfolio.application.register", "-o", "json"]).exits(0).json();
    assert_eq!(entry["aggregate"], "portfolio.application");
    server.run(&["command", "show", "portfolio.nothing"]).exits(2);
}
