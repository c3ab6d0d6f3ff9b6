//! The engine on a disk that is full.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals_engine::command::{CommandAnswer, CommandError, CommandRequest};
use annals_engine::log::EventLog;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::verify::verify;
use annals_engine::owners::EngineHandle;
use annals_model::ids::Scope;
use serde_json::json;
use tokio::time::Instant;

use crate::accounts::{BANK, address, request, request_in, scope};
use crate::engine::{deadline, send, start};
use crate::lines::Lines;

async fn open(path: &Path, max_page_count: Option<u32>) -> (Arc<SqliteLog>, Arc<dyn EventLog>) {
    let options = SqliteOptions { max_page_count, ..SqliteOptions::default() };
    let log = SqliteLog::open(path, &[BANK], options).await.unwrap();
    (Arc::clone(&log), log)
}

/// A deposit that takes some space.
fn deposit(scope: Scope, n: usize) -> CommandRequest {
    let mut asked = request_in(scope, &format!("d{n}"), 1, "deposit", json!({"amount": 1}));
    asked.reason = Some("x".repeat(1_000));
    asked
}

async fn fill(engine: &EngineHandle) -> (BTreeMap<usize, CommandAnswer>, usize) {
    let mut acknowledged = BTreeMap::new();
    for n in 0..10_000 {
        let deadline = Instant::now() + Duration::from_secs(2);
        match engine.execute(deposit(scope(1), n), deadline).await {
            Ok(answer) => drop(acknowledged.insert(n, answer)),
            Err(CommandError::Aborted { cause }) => {
                assert!(cause.contains("full"), "the operator must be told: {cause}");
                return (acknowledged, n);
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk was never full");
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_space() {
    let lines = Lines::of_this_thread();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let (log, shared) = open(&path, Some(60)).await;
    let engine = start(&shared).await;
    let handle = engine.handle();
    send(&handle, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    handle.execute(request_in(scope(2), "o", 1, "open", json!({"name": "b"})), deadline()).await.unwrap();
    let (acknowledged, refused) = fill(&handle).await;
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());

    // Still full: other partitions are refused too, reads and replays are answered.
    for n in 0..10 {
        let again = handle.execute(deposit(scope(1), 20_000 + n), deadline()).await;
        assert!(matches!(again, Err(CommandError::Aborted { .. })), "{again:?}");
    }
    assert_eq!(lines.count("WARN", "log cannot be written now"), 1);
    let elsewhere = handle.execute(deposit(scope(2), 0), deadline()).await;
    assert!(matches!(elsewhere, Err(CommandError::Aborted { .. })), "{elsewhere:?}");
    let view = handle.aggregate(address(scope(1), 1), deadline()).await.unwrap().unwrap();
    assert_eq!(view.state["balance"], acknowledged.len());
    assert!(send(&handle, "o", 1, "open", json!({"name": "a"})).await.unwrap().replayed);
    engine.shutdown().await;
    log.close().await;

    // A start on a full disk waits for space, and says so; nothing is answered that is not true.
    let (log, shared) = open(&path, Some(60)).await;
    let engine = start(&shared).await;
    let late = engine.handle().execute(deposit(scope(1), refused), Instant::now() + Duration::from_secs(1)).await;
    assert!(matches!(late, Err(CommandError::Unanswered | CommandError::Aborted { .. })), "{late:?}");
    engine.shutdown().await;
    log.close().await;

    let (log, shared) = open(&path, None).await;
    let engine = start(&shared).await;
    let handle = engine.handle();
    for (n, before) in &acknowledged {
        let again = handle.execute(deposit(scope(1), *n), deadline()).await.unwrap();
        assert_eq!(again, CommandAnswer { replayed: true, ..before.clone() });
    }
    let now = handle.execute(deposit(scope(1), refused), deadline()).await.unwrap();
    assert!(!now.replayed, "what was refused was not written");
    handle.execute(request("x", 1, "close", json!({})), deadline()).await.unwrap();
    engine.shutdown().await;
    let report = verify(&*shared, &[BANK], &|_| true, &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    log.close().await;
}
