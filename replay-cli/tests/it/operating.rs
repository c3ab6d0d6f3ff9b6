//! The operator's commands: what they find on a sound directory, and on one that somebody changed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::server::{Server, annals, copy, newest_of, newest_version, run, signal, wait_until};

const ID: &str = "6b0f5c0e-9c43-4a5e-a1d0-5d0f0c7b9a11";
const NAME: &str = "application-with-a-name-that-is-found-in-the-file";

/// A stopped server's directory with one application in it.
fn stopped(more: &[&str]) -> TempDir {
    let server = Server::on(tempfile::tempdir().unwrap(), more);
    fill(&server);
    let (code, directory) = server.stop();
    assert_eq!(code, Some(0));
    directory
}

fn fill(server: &Server) {
    server
        .run(&["command", "send", "access.workspace.create", "--payload", r#"{"name": "Home", "slug": "home"}"#])
        .exits(0);
    let payload = json!({ "name": NAME }).to_string();
    let register =
        ["command", "send", "portfolio.application.register", "--workspace", "home", "--id", ID, "--payload", &payload];
    let sent = server.run(&[&register[..], &["-o", "json"]].concat()).exits(0).json();
    let release = [
        "command",
        "send",
        "portfolio.application.release_version",
        "--workspace",
        "home",
        "--id",
        ID,
        "--payload",
        r#"{"number": "1.0.0"}"#,
    ];
    server.run(&release).exits(0);
    // Rows are asked for, so that they are there before the server is stopped.
    let token = sent["consistency_token"].as_str().unwrap();
    server.run(&["query", "portfolio.applications", "--workspace", "home", "--consistency-token", token]).exits(0);
}

#[test]
fn a_flipped_byte_of_the_log_is_found_and_exits_3() {
    let directory = stopped(&[]);
    run(directory.path(), &["log", "verify"]).exits(0);
    let damaged = copy(directory.path());
    flip(&damaged.path().join("log.db"), 0, NAME);
    let report = run(damaged.path(), &["log", "verify", "-o", "json"]).exits(3).json();
    assert_eq!(report["ok"], false);
    let finding = &report["findings"][0];
    assert!(finding["partition"].as_str().unwrap().starts_with("portfolio/"), "{finding}");
    assert!(finding["offset"].is_u64() && finding["cause"].is_string(), "{finding}");
    run(directory.path(), &["log", "verify"]).exits(0);
}

/// Flips one bit behind the first occurrence of a text in a file, from a position on.
fn flip(path: &Path, from: usize, text: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes[from..].windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[from + at + text.len() - 1] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_byte_of_the_logs_own_schemas_is_found_and_exits_3() {
    let directory = stopped(&[]);
    flip(&directory.path().join("log.db"), 0, "writer");
    let report = run(directory.path(), &["log", "verify", "-o", "json"]).exits(3).json();
    assert_eq!(report["ok"], false);
    let finding = &report["findings"][0];
    assert!(finding["partition"].is_null() && finding["cause"].as_str().unwrap().contains("schema/"), "{finding}");
    let shown = run(directory.path(), &["log", "verify"]).exits(3).stdout();
    assert!(shown.contains("checksum of meta entry schema/"), "{shown}");
}

#[test]
fn a_flipped_byte_of_an_index_is_found_and_exits_3() {
    let directory = stopped(&[]);
    let path = directory.path().join("read-models/portfolio/gen-1.db");
    let page: i64 = on(&path, async |connection| {
        let text = "SELECT rootpage FROM sqlite_schema WHERE name = 'applications_by_name'";
        sqlx::query_scalar(text).fetch_one(connection).await.unwrap()
    });
    flip(&path, (page as usize - 1) * 4_096, NAME);
    run(directory.path(), &["verify", "access"]).exits(0);
    let told = run(directory.path(), &["verify", "portfolio"]).exits(3).stderr();
    assert!(told.contains("applications_by_name") && told.contains("rebuild the read model"), "{told}");
}

#[test]
fn a_read_model_that_was_thrown_away_is_told_and_built_anew() {
    let directory = stopped(&[]);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.path().join(format!("read-models/portfolio/gen-1.db{suffix}")));
    }
    let status = run(directory.path(), &["status", "-o", "json"]).exits(0).json();
    assert_eq!(status["advice"][0]["remedy"], "annals rebuild portfolio", "{status}");
    assert!(status["advice"][0]["why"].as_str().unwrap().contains("is missing"), "{status}");
    let trouble = status["generations"][1]["trouble"].as_str().unwrap();
    let newest = newest_version("portfolio");
    assert_eq!(trouble, format!("portfolio v{newest} generation 1: its file is missing; rebuild the read model"));
    run(directory.path(), &["verify", "portfolio"]).exits(3);
    run(directory.path(), &["rebuild", "portfolio", "--yes"]).exits(0);
    run(directory.path(), &["promote", "portfolio"]).exits(0);
    run(directory.path(), &["verify", "portfolio"]).exits(0);
}

#[test]
fn a_forged_checkpoint_is_told_as_one_by_status_and_says_nothing_of_the_log() {
    let directory = stopped(&[]);
    on(&directory.path().join("read-models/portfolio/gen-1.db"), async |connection| {
        let forge = "UPDATE annals_checkpoints SET log_offset = log_offset + 1000, ordinal = ordinal + 1000";
        sqlx::query(forge).execute(connection).await.unwrap();
    });
    let status = run(directory.path(), &["status", "-o", "json"]).exits(0).json();
    let why = status["advice"][0]["why"].as_str().unwrap();
    assert!(why.contains("the log is whole, the checkpoint is false"), "{status}");
    let told = run(directory.path(), &["log", "verify"]).exits(0).stderr();
    let newest = newest_version("portfolio");
    assert!(told.contains(&format!("portfolio v{newest} generation 1 says nothing of the log")), "{told}");
    run(directory.path(), &["verify", "portfolio"]).exits(3);
}

/// Changes a row of the live generation behind everybody's back.
fn change(data: &Path, statement: &str) {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    on(&data.join("read-models/portfolio/gen-1.db"), async |connection| {
        let changed = sqlx::query(statement).execute(connection).await.unwrap();
        assert_eq!(changed.rows_affected(), 1);
    });
}

/// Works on a SQLite file directly; closing it leaves everything in the file itself.
fn on<T>(path: &Path, work: impl AsyncFnOnce(&mut SqliteConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = SqliteConnectOptions::new().filename(path);
    runtime.block_on(async {
        let mut connection = options.connect().await.unwrap();
        let done = work(&mut connection).await;
        connection.close().await.unwrap();
        done
    })
}

#[test]
fn a_changed_row_is_found_named_and_exits_3() {
    let directory = stopped(&[]);
    let sound = run(directory.path(), &["verify", "portfolio", "-o", "json"]).exits(0).json();
    assert_eq!(sound[0]["matches"], true);
    let changed = copy(directory.path());
    change(changed.path(), "UPDATE applications SET criticality = 'low'");
    let found = run(changed.path(), &["verify", "portfolio", "-o", "json"]).exits(3).json();
    assert_eq!((&found[0]["matches"], &found[0]["diverging"]), (&json!(false), &json!(1)));
    let row = &found[0]["divergences"][0];
    assert_eq!((&row["table"], &row["id"]), (&json!("applications"), &json!(ID)));
    assert_eq!((&row["stored"]["criticality"], &row["folded"]["criticality"]), (&json!("low"), &json!("medium")));
    // It leaves a trace, until a verification succeeds.
    let trace = || {
        let status = run(changed.path(), &["status", "-o", "json"]).exits(0).json();
        (status["generations"][1]["trouble"].clone(), status["advice"][0]["remedy"].clone())
    };
    let (trouble, remedy) = trace();
    assert_eq!(trouble, "its last verification failed: 1 row is not what the log says");
    assert_eq!(remedy, "annals rebuild portfolio, then annals promote portfolio");
    let shown = run(changed.path(), &["verify", "portfolio"]).exits(3).stdout();
    assert!(shown.contains(ID) && shown.contains("criticality"), "{shown}");
    // Rebuilt beside it, verified and promoted, the directory is sound again.
    run(changed.path(), &["rebuild", "portfolio", "--yes"]).exits(0);
    run(changed.path(), &["promote", "portfolio"]).exits(0);
    run(changed.path(), &["verify", "portfolio"]).exits(0);
}

#[test]
fn a_schema_change_is_advised_built_promoted_and_rolled_back_while_a_server_runs() {
    let server = Server::on(tempfile::tempdir().unwrap(), &["--first-version", "portfolio=1"]);
    fill(&server);
    let status = server.run(&["status", "-o", "json"]).exits(0).json();
    assert_eq!(status["advice"][0]["remedy"], "annals rebuild portfolio");
    assert_eq!(server.run(&["plan", "portfolio", "-o", "json"]).exits(0).json()["called_for"], true);
    // Nobody can be asked here.
    server.run(&["rebuild", "portfolio"]).exits(2);
    let built = server.run(&["rebuild", "portfolio", "--version", "2", "--yes", "--reason", "a test", "-o", "json"]);
    let built = built.exits(0).json();
    assert_eq!((&built["state"], &built["version"], &built["reason"]), (&json!("ready"), &json!(2), &json!("a test")));
    let generation = built["generation"].to_string();
    server.run(&["verify", "portfolio", "--generation", &generation]).exits(0);
    server.run(&["promote", "portfolio"]).exits(0);
    server.run(&["promote", "portfolio", "--generation", &generation]).exits(4);
    let release_count = |version: u64| {
        let query = ["query", "portfolio.applications", "--workspace", "home", "-o", "json"];
        let mut page = Value::Null;
        wait_until("queries are served from the other version", || {
            page = server.run(&query).exits(0).json();
            page["version"] == version
        });
        page["rows"][0].get("release_count").cloned()
    };
    assert_eq!(release_count(2), Some(json!(1)));
    server.run(&["rollback", "portfolio"]).exits(0);
    assert_eq!(release_count(1), None);
    server.run(&["verify"]).exits(0);
}

#[test]
fn behind_a_promotion_the_oldest_retired_generation_goes_and_a_rollback_finds_its_own() {
    let server = Server::start();
    fill(&server);
    let promote = || {
        server.run(&["rebuild", "portfolio", "--yes"]).exits(0);
        server.run(&["promote", "portfolio", "-o", "json"]).exits(0).json()
    };
    let first = promote();
    assert_eq!((&first["generation"], &first["dropped"]), (&json!(2), &json!([])));
    // What goes next is told before it goes, and nothing has gone.
    assert_eq!(server.run(&["plan", "portfolio", "-o", "json"]).exits(0).json()["promotion_drops"], json!([1]));
    let oldest = format!("generation 1 of version {}", newest_version("portfolio"));
    assert!(server.run(&["plan", "portfolio"]).exits(0).stdout().contains(&oldest));
    let told = server.run(&["status"]).exits(0).stdout();
    assert!(told.contains("the next promotion drops what is old: portfolio generation 1"), "{told}");
    let second = promote();
    assert_eq!(
        (&second["generation"], &second["dropped"], &second["not_dropped"]),
        (&json!(3), &json!([1]), &json!([]))
    );
    assert_eq!(generations(&server.data()), ["gen-2.db", "gen-3.db"]);
    let back = server.run(&["rollback", "portfolio", "-o", "json"]).exits(0).json();
    assert_eq!((&back["generation"], &back["dropped"]), (&json!(2), &json!([])));
    server.run(&["verify", "portfolio"]).exits(0);
    server.run(&["verify", "portfolio", "--generation", "3"]).exits(0);
    // The server never noticed: what it keeps current is what there is, and none of it is in trouble.
    let status = server.run(&["status", "-o", "json"]).exits(0).json();
    let told = status["generations"].as_array().unwrap().iter().filter(|one| one["read_model"] == "portfolio");
    let told: Vec<_> = told.map(|one| (&one["generation"], &one["state"], &one["trouble"])).collect();
    assert_eq!(told, [(&json!(2), &json!("live"), &Value::Null), (&json!(3), &json!("retired"), &Value::Null)]);
}

/// The files of rows of a directory's portfolio.
fn generations(data: &Path) -> Vec<String> {
    let files = std::fs::read_dir(data.join("read-models/portfolio")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".db")).collect();
    names.sort();
    names
}

#[test]
fn a_generation_is_dropped_by_number_where_nobody_needs_it_and_as_many_stay_as_are_asked_for() {
    let directory = stopped(&[]);
    let annals = |arguments: &[&str]| run(directory.path(), arguments);
    let drop = |number: &str| annals(&["drop", "portfolio", "--generation", number, "--yes"]);
    assert!(drop("1").exits(4).stderr().contains("promote another one first"));
    drop("9").exits(2);
    annals(&["drop", "nothing", "--generation", "1", "--yes"]).exits(2);
    annals(&["rebuild", "portfolio", "--yes"]).exits(0);
    assert!(drop("2").exits(4).stderr().contains("is ready"));
    annals(&["promote", "portfolio"]).exits(0);
    // Nobody can be asked here.
    assert!(annals(&["drop", "portfolio", "--generation", "1"]).exits(2).stderr().contains("--yes"));
    assert_eq!(generations(directory.path()), ["gen-1.db", "gen-2.db"]);
    drop("1").exits(0);
    assert_eq!(generations(directory.path()), ["gen-2.db"]);
    drop("1").exits(2);
    annals(&["rollback", "portfolio"]).exits(1);
    std::fs::write(directory.path().join("annals.toml"), "[read_models]\nkeep = 2").unwrap();
    for (number, dropped) in [(3, json!([])), (4, json!([])), (5, json!([2]))] {
        annals(&["rebuild", "portfolio", "--yes"]).exits(0);
        let promoted = annals(&["promote", "portfolio", "-o", "json"]).exits(0).json();
        assert_eq!((&promoted["generation"], &promoted["dropped"]), (&json!(number), &dropped));
    }
    assert_eq!(generations(directory.path()), ["gen-3.db", "gen-4.db", "gen-5.db"]);
}

#[test]
fn a_rebuild_runs_once_at_a_time_and_can_be_interrupted_and_run_again() {
    let server = Server::start();
    let lock = format!("{}/../Cargo.lock", env!("CARGO_MANIFEST_DIR"));
    server.run(&["import", "cargo-lock", &lock]).exits(0);
    // So slow that it is still at work when it is looked at.
    let building = annals(&server.data(), &["rebuild", "portfolio", "--yes", "--throttle", "20"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let newest_state = || {
        let status = server.run(&["status", "-o", "json"]).exits(0).json();
        newest_of(&status, "portfolio")["state"].clone()
    };
    wait_until("the rebuild has begun", || newest_state() == "building");
    server.run(&["rebuild", "portfolio", "--yes"]).exits(4);
    signal(building.id(), Signal::SIGINT);
    let ended = building.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{words}");
    assert!(words.contains("again"), "{words}");
    server.run(&["rebuild", "portfolio", "--yes"]).exits(0);
    assert_eq!(newest_state(), "ready");
    // The live generation never noticed.
    server.run(&["verify", "portfolio"]).exits(0);
}

#[test]
fn a_second_interruption_ends_a_rebuild_that_cannot_end_well_now() {
    let server = Server::start();
    let lock = format!("{}/../Cargo.lock", env!("CARGO_MANIFEST_DIR"));
    server.run(&["import", "cargo-lock", &lock]).exits(0);
    let mut building = annals(&server.data(), &["rebuild", "portfolio", "--yes", "--throttle", "20"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the rebuild has begun", || {
        let status = server.run(&["status", "-o", "json"]).exits(0).json();
        newest_of(&status, "portfolio")["state"] == "building"
    });
    // Its end cannot be written down while somebody else writes to the registry.
    let registry = server.data().join("read-models/registry.db");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let held = runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(registry).connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    });
    let mut words = BufReader::new(building.stderr.take().unwrap());
    let mut said = String::new();
    signal(building.id(), Signal::SIGINT);
    while !said.contains("once more") {
        assert!(words.read_line(&mut said).unwrap() > 0, "{said}");
    }
    signal(building.id(), Signal::SIGINT);
    words.read_to_string(&mut said).unwrap();
    assert_eq!(building.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("ended at once"), "{said}");
    runtime.block_on(held.close()).unwrap();
    server.run(&["rebuild", "portfolio", "--yes"]).exits(0);
    server.run(&["verify", "portfolio"]).exits(0);
}

#[test]
fn read_models_of_a_newer_log_than_the_one_restored_are_found_and_the_way_out_is_told() {
    let directory = stopped(&[]);
    let backup = copy(directory.path());
    let server = Server::on(directory, &[]);
    server.run(&[
        "command",
        "send",
        "portfolio.project.create",
        "--workspace",
        "home",
        "--payload",
        r#"{"name": "P"}"#,
    ]);
    wait_until("the read model has it", || {
        let status = server.run(&["status", "-o", "json"]).exits(0).json();
        status["generations"].as_array().unwrap().iter().all(|generation| generation["lag_events"] == 0)
    });
    let (_, directory) = server.stop();
    std::fs::copy(backup.path().join("log.db"), directory.path().join("log.db")).unwrap();
    let status = run(directory.path(), &["status", "-o", "json"]).exits(0).json();
    assert!(status["advice"].to_string().contains("beyond the log's end"), "{status}");
    run(directory.path(), &["verify", "portfolio"]).exits(3);
    run(directory.path(), &["rebuild", "portfolio", "--yes"]).exits(0);
    let refused = run(directory.path(), &["promote", "portfolio"]).exits(4);
    assert!(refused.stderr().contains("move the folder `read-models` away"), "{}", refused.stderr());
    std::fs::rename(directory.path().join("read-models"), backup.path().join("away")).unwrap();
    let server = Server::on(directory, &[]);
    server.run(&["verify"]).exits(0);
}

#[test]
fn what_a_killed_server_left_can_be_looked_at_and_nobody_is_sent_to_it() {
    let server = Server::start();
    fill(&server);
    let served = format!("served by process {} at", server.id());
    let words = server.run(&["status"]).exits(0).stderr();
    assert!(words.contains(&served), "{words}");
    let directory = server.kill();
    for looks in [&["log", "verify"][..], &["log", "stats"], &["plan", "portfolio"], &["verify"]] {
        run(directory.path(), looks).exits(0);
    }
    let words = run(directory.path(), &["status"]).exits(0).stderr();
    assert!(words.contains("no server runs on") && !words.contains(&served), "{words}");
}

#[test]
fn names_and_numbers_that_are_not_there_are_refused() {
    let directory = stopped(&[]);
    run(directory.path(), &["plan", "nothing"]).exits(2);
    run(directory.path(), &["rebuild", "portfolio", "--version", "99", "--yes"]).exits(2);
    run(directory.path(), &["verify", "portfolio", "--generation", "99"]).exits(2);
    run(directory.path(), &["verify", "--generation", "1"]).exits(2);
    run(directory.path(), &["promote", "portfolio"]).exits(1);
    run(directory.path(), &["rollback", "portfolio"]).exits(1);
}

#[test]
fn a_backup_beside_a_server_under_writes_is_whole_verifies_and_opens() {
    let server = Server::start();
    fill(&server);
    let lines: String = (0..3_000)
        .map(|n| {
            let payload = json!({ "name": format!("W{n}"), "slug": format!("w-{n}") });
            let line =
                json!({ "type": "access.workspace.create", "client_request_id": format!("r{n}"), "payload": payload });
            format!("{line}\n")
        })
        .collect();
    let file = server.data().join("lines");
    std::fs::write(&file, lines).unwrap();
    let mut writing = annals(&server.data(), &["import", "ndjson", file.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut events = Vec::new();
    while writing.try_wait().unwrap().is_none() || events.is_empty() {
        let to = elsewhere.path().join(events.len().to_string());
        let told = server.run(&["log", "backup", to.to_str().unwrap(), "-o", "json"]).exits(0).json();
        let verified = run(&to, &["log", "verify", "-o", "json"]).exits(0).json();
        assert_eq!((&verified["events"], &verified["digest"]), (&told["events"], &told["digest"]));
        assert_eq!(told["beside"], json!(["development.json", "signing.key", "log.served"]));
        events.push(told["events"].as_u64().unwrap());
    }
    assert!(events.is_sorted(), "{events:?}");
    assert!(writing.wait().unwrap().success());
    // Nothing is overwritten.
    let to = elsewhere.path().join("0");
    let before = std::fs::read(to.join("log.db")).unwrap();
    assert!(server.run(&["log", "backup", to.to_str().unwrap()]).exits(4).stderr().contains("is not empty"));
    assert_eq!(std::fs::read(to.join("log.db")).unwrap(), before);
    let last = elsewhere.path().join("last");
    let told = server.run(&["log", "backup", last.to_str().unwrap(), "-o", "json"]).exits(0).json();
    assert_eq!(told["events"], 3_003);
    // A server opens it, as docs/operations.md says, and has all that was acknowledged.
    let restored = Server::on(copy(&last), &[]);
    restored.run(&["verify"]).exits(0);
    assert!(
        restored.run(&["query", "access.workspaces", "--all", "-o", "jsonl"]).exits(0).stdout().lines().count() > 3_000
    );
}

#[test]
fn a_copy_without_its_write_ahead_log_is_not_called_whole() {
    let server = Server::start();
    fill(&server);
    let directory = server.kill();
    // The file alone, as it was before anything was copied into it.
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("log.db"), alone.path().join("log.db")).unwrap();
    let verified = run(alone.path(), &["log", "verify"]).exits(0).stdout();
    assert!(verified.contains("the log is empty") && !verified.contains("whole"), "{verified}");
    assert_eq!(run(alone.path(), &["log", "verify", "-o", "json"]).exits(0).json()["empty"], true);
    // A directory that knows that there was more.
    std::fs::copy(directory.path().join("log.served"), alone.path().join("log.served")).unwrap();
    let ended = run(alone.path(), &["log", "verify"]).exits(3);
    assert!(ended.stderr().contains("log.db-wal") && ended.stdout().contains("not even a claim"), "{}", ended.stdout());
    let known = copy(directory.path());
    std::fs::remove_file(known.path().join("log.served")).unwrap();
    run(known.path(), &["log", "verify"]).exits(0);
    std::fs::remove_file(known.path().join("log.db-wal")).unwrap();
    let _ = std::fs::remove_file(known.path().join("log.db-shm"));
    let found = run(known.path(), &["log", "verify", "-o", "json"]).exits(3).json();
    assert!(found["findings"][0]["cause"].as_str().unwrap().contains("has seen"), "{found}");
}
