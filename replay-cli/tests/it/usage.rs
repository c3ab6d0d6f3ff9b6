//! Exit codes and output of commands that go wrong before they begin, and of a server that starts and stops.

use crate::server::{Server, annals, read_models, run};

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
        &["endpoint"],
        &["endpoint", "--env"],
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
fn what_is_wrong_with_the_command_line_is_said_by_the_name_of_its_option() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, option) in [
        (&["query", "--url", ""][..], "--url"),
        (&["query", "--url", "127.0.0.1:80"], "--url"),
        (&["query", "--token", " \n"], "--token"),
        (&["query", "--token", "a b"], "--token"),
        (&["token", "mint", "--actor", "robot:x"], "--actor"),
        (
            &["token", "mint", "--tenant", "3F2B8C1E4E1A4B6E9D531D1C43F1A9B7"],
            "write the id as 3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7",
        ),
    ] {
        let ran = run(directory.path(), arguments).exits(2);
        assert!(ran.stderr().contains(option), "{arguments:?}: {}", ran.stderr());
    }
    let empty = |name: &str| annals(directory.path(), &["query"]).env(name, "").output().unwrap();
    for (name, option) in [("ANNALS_URL", "--url"), ("ANNALS_TOKEN", "--token"), ("ANNALS_CONFIG", "--config")] {
        let ran = empty(name);
        let words = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(2), "{name}: {words}");
        assert!(words.contains(option), "{name}: {words}");
    }
}

#[test]
fn what_is_printed_is_accepted() {
    let server = Server::start();
    let send = ["command", "send", "access.workspace.create", "--payload", r#"{"name": "Home", "slug": "home"}"#];
    server.run(&send).exits(0);
    let history = server.run(&["history", "access.workspace", "home", "-o", "json"]).exits(0).json();
    let actor = history.as_array().unwrap()[0].as_object().unwrap();
    let actor = actor.iter().find(|(name, _)| name.starts_with("actor")).unwrap().1.as_str().unwrap();
    assert!(actor.starts_with("user:"), "{actor}");
    let minted = server.run(&["token", "mint", "--actor", actor]).exits(0).stdout();
    // With the line's end that it was printed with.
    server.run(&["query", "access.workspaces", "--token", &minted, "--url", &format!("{}/ ", server.url())]).exits(0);
}

/// A shell that reads what `endpoint --env` prints, as README has it, then runs the line.
fn shell(data: &std::path::Path, line: &str) -> String {
    let script = format!(r#"eval "$("$ANNALS" --data "$DATA" endpoint --env)" && {line}"#);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).env("ANNALS", env!("CARGO_BIN_EXE_annals")).env("DATA", data);
    let output = shell.env_remove("ANNALS_URL").env_remove("ANNALS_TOKEN").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_shell_finds_the_running_server_and_reaches_it_with_what_it_is_given() {
    let server = Server::start();
    let file = std::fs::read(server.data().join("endpoint.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    for arguments in [&["endpoint", "-o", "json"][..], &["endpoint", "--env", "-o", "json"]] {
        assert_eq!(server.run(arguments).exits(0).json(), file, "{arguments:?}");
    }
    assert!(server.run(&["endpoint"]).exits(0).stdout().contains(&server.url()));
    // No other server in the environment takes its place.
    let told = annals(&server.data(), &["endpoint", "-o", "json"]).env("ANNALS_URL", "http://127.0.0.1:1").output();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&told.unwrap().stdout).unwrap(), file);
    let words = |name: &str| file[name].as_str().unwrap().to_owned();
    assert_eq!(
        shell(&server.data(), r#"echo "$ANNALS_URL $ANNALS_TOKEN""#),
        format!("{} {}\n", words("url"), words("token"))
    );
    // Exported: a process that knows nothing of the directory finds the server.
    let rows = shell(&server.data(), r#""$ANNALS" --data /nowhere query access.workspaces -o json"#);
    assert!(rows.contains("\"rows\""), "{rows}");
}

#[test]
fn a_forgotten_workspace_is_said_by_the_name_of_its_option() {
    let server = Server::start();
    let id = "3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7";
    let register = ["command", "send", "portfolio.application.register", "--payload", r#"{"name": "a"}"#];
    let lines = [&register[..], &["query", "portfolio.applications"], &["history", "portfolio.application", id]];
    for arguments in lines {
        let ran = server.run(arguments).exits(2);
        assert!(ran.stderr().contains("--workspace (-w)"), "{arguments:?}: {}", ran.stderr());
    }
}

#[test]
fn a_name_that_looks_like_an_id_is_a_name_and_ids_have_one_spelling() {
    let server = Server::start();
    let send = [
        "command",
        "send",
        "access.workspace.create",
        "--payload",
        r#"{"name": "Home", "slug": "home"}"#,
        "-o",
        "json",
    ];
    let id = server.run(&send).exits(0).json()["aggregate"]["id"].as_str().unwrap().to_owned();
    let plain = id.replace('-', "");
    // An application whose name is another thing's id, in another spelling.
    let payload = format!(r#"{{"name": "{plain}"}}"#);
    server.run(&["command", "send", "portfolio.application.register", "-w", "home", "--payload", &payload]).exits(0);
    let history = ["history", "portfolio.application", &plain, "-w", &id, "-o", "json"];
    assert_eq!(server.run(&history).exits(0).json().as_array().unwrap().len(), 1);
    let ran = server.run(&["query", "portfolio.applications", "-w", &plain]).exits(1);
    assert!(ran.stderr().contains(&format!("if you mean an id, write {id}")), "{}", ran.stderr());
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
    for arguments in [&["query"][..], &["endpoint", "--env"]] {
        let ran = run(directory.path(), arguments).exits(2);
        assert!(ran.stderr().contains("start one with `annals up`"), "{arguments:?}: {}", ran.stderr());
    }
    // What needs no server goes on without one.
    run(directory.path(), &["log", "verify"]).exits(0);
    assert_eq!(
        run(directory.path(), &["verify", "-o", "json"]).exits(0).json().as_array().unwrap().len(),
        read_models().len()
    );
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
