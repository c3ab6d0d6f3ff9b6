//! Several processes on one log: at most one owner's appends are ever visible, whatever happens to the others.

use std::path::Path;

use annals_engine::log::checked::CheckedReader;
use annals_engine::log::contract::records::SCHEMA;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::verify::verify;
use annals_engine::log::{EventLog, Owner};
use annals_model::position::Checkpoint;
use annals_tests::{LOG_CONTEXT, LOG_PARTITION};

use crate::log_process::LogProcess;

/// Ordinals that readers see, after everything was verified.
async fn visible(path: &Path) -> Vec<u64> {
    let log = SqliteLog::open_read_only(path, &[LOG_CONTEXT]).await.unwrap();
    let report = verify(&*log, &[LOG_CONTEXT], &|schema| schema == SCHEMA, &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let mut reader = CheckedReader::open(&*log, LOG_PARTITION, Checkpoint::default()).await.unwrap();
    let mut ordinals = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        ordinals.extend(batch.records.iter().map(|record| record.envelope.ordinal.0));
    }
    assert_eq!(reader.voided(), 0, "a zombie's record was written");
    ordinals
}

#[tokio::test]
async fn a_process_stopped_and_resumed_is_fenced_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let mut zombie = LogProcess::start(&path);
    assert_eq!(zombie.ask("claim"), "claimed 1 0");
    assert_eq!(zombie.ask("append 3"), "durable 3");
    zombie.stop();
    // What it will do first when it wakes up.
    zombie.send("append 2");

    let log = SqliteLog::open(&path, &[LOG_CONTEXT], SqliteOptions::default()).await.unwrap();
    log.claim(LOG_PARTITION, Owner { id: "here".into(), address: String::new() }).await.unwrap();
    let mut heir = LogProcess::start(&path);
    assert!(heir.ask("claim").ends_with(" 3"), "everything acknowledged is there");
    assert_eq!(heir.ask("append 4"), "durable 7");

    zombie.resume();
    assert_eq!(zombie.answer(), "fenced");
    assert_eq!(visible(&path).await, (1..=7).collect::<Vec<_>>());
    assert_eq!(heir.ask("append 1"), "durable 8", "the owner goes on");
    assert_eq!(heir.ask("prove"), "owner");
    assert!(zombie.ask("claim").ends_with(" 8"), "a zombie that learned of it may claim again");
    assert_eq!(heir.ask("prove"), "fenced");
    assert_eq!(visible(&path).await, (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_killed_process_leaves_everything_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let mut acknowledged = 0;
    for round in 0..5 {
        let mut owner = LogProcess::start(&path);
        let claimed = owner.ask("claim");
        let found: u64 = claimed.rsplit(' ').next().unwrap().parse().unwrap();
        // The append that was in flight when the last one was killed is there whole or not at all.
        assert!(found == acknowledged || found == acknowledged + 7, "{found} of {acknowledged}");
        acknowledged = found;
        for _ in 0..round * 3 {
            acknowledged += 2;
            assert_eq!(owner.ask("append 2"), format!("durable {acknowledged}"));
        }
        owner.send("append 7");
        owner.kill();
    }
    let visible = visible(&path).await;
    assert_eq!(visible, (1..=visible.len() as u64).collect::<Vec<_>>());
    assert!(visible.len() as u64 >= acknowledged);
}

#[tokio::test]
async fn a_write_that_fails_at_the_commit_is_unknown_and_the_log_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let mut owner = LogProcess::start(&path);
    owner.ask("claim");
    assert_eq!(owner.ask("append 1"), "durable 1");
    // Writes of the write-ahead log fail soon, in the middle of a commit.
    let written = std::fs::metadata(directory.path().join("log.sqlite-wal")).unwrap().len();
    owner.ask(&format!("file-limit {}", written + 40_000));
    let mut acknowledged = 1;
    let outcome = loop {
        let outcome = owner.ask("append 60");
        if !outcome.starts_with("durable") {
            break outcome;
        }
        acknowledged += 60;
    };
    assert_eq!(outcome, "unknown");
    owner.ask("file-limit 0");
    let claimed = owner.ask("claim");
    let found: u64 = claimed.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(found == acknowledged || found == acknowledged + 60, "{claimed}, {acknowledged} acknowledged");
    assert_eq!(owner.ask("append 2"), format!("durable {}", found + 2), "the log serves again");
    assert_eq!(visible(&path).await, (1..=found + 2).collect::<Vec<_>>());
}
