//! Exit codes and output of commands that go wrong before they begin, and of a server that starts and stops.

use crate::server::{Server, run};

#[test]
fn a_wrong_command_line_exits_2_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["nonsense"][..],
        &["rebuild"],
        &["query", "a", "--limit", "501"],
        &["up", "--listen", "0.0.0.0:0"],
        &["up", "--first-version", "portfolio"],
        &["import", "cargo-lock", "/nowhere/Cargo.lock"],
        &["import", "ndjson", "/nowhere/commands"],
        &["log", "verify"],
        &["status"],
        &["token", "mint"],
        &["query", "portfolio.applications"],
        &["command", "send", "a.b.c", "--payload", "{"],
        &["command", "send", "a.b.c", "--payload", "{\"a\": 1, \"a\": 2}"],
    ] {
        let ran = run(directory.path(), arguments).exits(2);
        assert_eq!(ran.stdout(), "", "{arguments:?}");
        assert!(!ran.stderr().is_empty(), "{arguments:?}");
    }
    assert!(!directory.path().join("log.db").exists());
}

#[test]
fn help_and_completions_need_no_directory() {
    let nowhere = std::path::Path::new("/nowhere");
    assert!(run(nowhere, &["--help"]).exits(0).stdout().contains("Exit codes"));
    assert!(run(nowhere, &["completions", "bash"]).exits(0).stdout().contains("_annals"));
}

#[test]
fn a_second_server_on_a_directory_exits_4_and_names_the_first() {
    let server = Server::start();
    let ran = server.run(&["up"]).exits(4);
    assert!(ran.stderr().contains(&server.id().to_string()), "{}", ran.stderr());
    // The first one did not notice.
    server.run(&["status"]).exits(0);
}

#[test]
fn a_server_that_is_asked_to_stop_exits_0_and_takes_its_endpoint_away() {
    let (code, directory) = Server::start().stop();
    assert_eq!(code, Some(0));
    assert!(!directory.path().join("endpoint.json").exists());
    run(directory.path(), &["query"]).exits(2);
    // What needs no server goes on without one.
    run(directory.path(), &["log", "verify"]).exits(0);
    assert_eq!(run(directory.path(), &["verify", "-o", "json"]).exits(0).json().as_array().unwrap().len(), 2);
}

#[test]
fn endpoint_and_keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    for name in ["endpoint.json", "signing.key", "cursor.key", "development.json"] {
        let mode = std::fs::metadata(server.data().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_token_of_another_tenant_sees_nothing_of_this_one() {
    let server = Server::start();
    server
        .run(&["command", "send", "access.workspace.create", "--payload", r#"{"name": "Home", "slug": "home"}"#])
        .exits(0);
    let other = "3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7";
    let token = server.run(&["token", "mint", "--tenant", other]).exits(0).stdout();
    let stranger = server.run(&["--token", token.trim(), "query", "access.workspaces", "-o", "json"]).exits(0).json();
    assert_eq!(stranger["rows"], serde_json::json!([]));
    assert!(server.run(&["--token", "forged", "query", "access.workspaces"]).exits(1).stderr().contains("401"));
}
