//! Is the checker of the fault tests worth anything? It must catch each way to break the engine's promises.

use std::sync::Arc;

use annals_engine::command::CommandError;
use annals_engine::log::EventLog;
use annals_engine::log::memory::MemoryLog;
use annals_engine::owners::{Engine, EngineOptions};
use annals_model::time::Timestamp;
use serde_json::json;

use crate::accounts::{BANK, application};
use crate::buggy_log::{BuggyLog, LogBug};
use crate::clients::check;
use crate::engine::{owner, send};
use crate::stores::{StoreBug, watched};

/// What the checker finds, seed by seed.
fn findings(bug: Option<LogBug>, store: StoreBug) -> impl Iterator<Item = String> {
    let mut options = EngineOptions { clock: Arc::new(|| Timestamp(1)), ..EngineOptions::new(owner("buggy")) };
    if store != StoreBug::None {
        options.state_stores = watched(store).0;
    }
    let wrap = move |log: Arc<MemoryLog>| -> Arc<dyn EventLog> {
        match bug {
            Some(bug) => BuggyLog::around(log, bug),
            None => log,
        }
    };
    (0..12).filter_map(move |seed| check(seed, 150, wrap, &options).err())
}

/// Some seed brings the bug to light, under these words.
fn assert_found(findings: impl Iterator<Item = String>, words: &str) {
    let mut others = Vec::new();
    for finding in findings {
        if finding.contains(words) {
            return;
        }
        others.push(finding);
    }
    panic!("{words:?} is not among {others:#?}");
}

#[test]
fn without_a_bug_nothing_is_found() {
    assert_eq!(findings(None, StoreBug::None).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn an_answer_before_the_commit_is_caught() {
    assert_found(findings(Some(LogBug::AnswersBeforeCommit), StoreBug::None), "was acknowledged and is lost");
}

#[test]
fn an_unknown_append_that_is_repeated_without_reading_is_caught() {
    assert_found(findings(Some(LogBug::RetriesUnknownBlindly), StoreBug::None), "was applied 2 times");
}

#[test]
fn an_unknown_append_that_is_called_aborted_is_caught() {
    assert_found(findings(Some(LogBug::CallsUnknownAborted), StoreBug::None), "was refused and is written");
}

#[test]
fn a_fenced_owner_that_goes_on_writing_is_caught() {
    assert_found(findings(Some(LogBug::ForgetsFencing), StoreBug::None), "records of a fenced writer");
}

#[test]
fn a_ledger_that_does_not_survive_a_claim_is_caught() {
    assert_found(findings(None, StoreBug::ForgetsLedgerAtClaim), "was applied 2 times");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_took_long_proves_nothing_any_more() {
    let log = BuggyLog::around(MemoryLog::new(&[BANK]), LogBug::ClaimsLate);
    let options = EngineOptions::new(owner("late"));
    let running = Engine::start(Arc::clone(&log), &application(), &options).await.unwrap();
    // A refusal would rest on states that are a rival's by now.
    let refused = send(&running.handle(), "d", 1, "deposit", json!({"amount": 1})).await.unwrap_err();
    assert!(matches!(refused, CommandError::NotOwner(_)), "{refused:?}");
}
