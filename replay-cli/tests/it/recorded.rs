//! A data directory that an earlier build made: its log, its registry, its generations, as they lay there.
//!
//! `tests/recorded/data-directory.tar.gz` holds one workspace with one project, two applications, two releases, a dependency
//! and a retirement; of read model `portfolio` a retired generation 1 of version 2, a ready generation 2 of version 1, and
//! generation 3 of version 2, which is live. It is never made anew: what is in it was released.

use std::process::Command;

use tempfile::TempDir;

use crate::server::{Ran, Server, run};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/data-directory.tar.gz");

fn recorded() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar").arg("-xzf").arg(RECORDED).arg("-C").arg(directory.path()).status().unwrap();
    assert!(unpacked.success(), "tar cannot unpack {RECORDED}");
    directory
}

/// Names and numbers of releases of the applications, as the live generation has them.
fn applications(server: &Server) -> Vec<(String, Option<i64>)> {
    let answer = server.run(&["query", "portfolio.applications", "--workspace", "home", "-o", "json"]).exits(0).json();
    let of = |row: &serde_json::Value| (row["name"].as_str().unwrap().to_owned(), row["release_count"].as_i64());
    answer["rows"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_data_directory_of_an_earlier_build_verifies_opens_and_serves() {
    let directory = recorded();
    let whole = |ran: Ran| ran.exits(0);
    whole(run(directory.path(), &["log", "verify"]));
    whole(run(directory.path(), &["verify"]));
    for generation in ["1", "2"] {
        whole(run(directory.path(), &["verify", "portfolio", "--generation", generation]));
    }
    let server = Server::on(directory, &[]);
    assert_eq!(applications(&server), [("billing".to_owned(), Some(2)), ("ledger".to_owned(), Some(0))]);
    // It goes on where it was.
    let payload = r#"{"number": "2.0.0"}"#;
    let release = ["command", "send", "portfolio.application.release_version", "--workspace", "home"];
    server.run(&[&release[..], &["--id", "billing", "--payload", payload]].concat()).exits(0);
    crate::server::wait_until("the release is counted", || applications(&server)[0].1 == Some(3));
    // What was ready is promoted and has its version's columns; what it takes the place of comes back.
    server.run(&["promote", "portfolio", "--generation", "2"]).exits(0);
    crate::server::wait_until("version 1 is served", || applications(&server)[0].1.is_none());
    server.run(&["rollback", "portfolio"]).exits(0);
    crate::server::wait_until("version 2 is served", || applications(&server)[0].1 == Some(3));
    server.run(&["rebuild", "portfolio", "--yes"]).exits(0);
    server.run(&["promote", "portfolio"]).exits(0);
    whole(server.run(&["verify"]));
    whole(server.run(&["log", "verify"]));
    assert_eq!(server.stop().0, Some(0));
}
