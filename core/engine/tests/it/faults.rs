//! The engine while its log aborts, forgets to answer, loses appends and fences.

use std::sync::Arc;

use annals_engine::command::{CommandAnswer, CommandError, CommandRequest, NotNow, ReadFailure};
use annals_engine::log::EventLog;
use annals_engine::log::memory::{Fault, Faults, MemoryLog, MemoryOptions};
use annals_engine::owners::{Chain, Engine, EngineHandle, EngineOptions, Link, PartitionState};
use annals_model::position::{ContextPartition, Sequence};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::Instant;

use crate::accounts::{BANK, address, request, scope};
use crate::clients::check;
use crate::engine::{deadline, owner, send, start};
use crate::lines::Lines;
use crate::stores::{Memory, on_each_memory};

on_each_memory! {
    #[tokio::test] => an_aborted_append_wrote_nothing_and_may_be_sent_again, an_append_of_unknown_outcome_is_answered_from_the_log, a_spent_writer_is_claimed_again_before_anybody_notices, a_fenced_owner_forgets_and_refuses, a_log_that_cannot_be_read_now_is_no_damaged_log, behind_a_command_that_was_not_decided_none_that_rests_on_it_is;
    #[tokio::test(start_paused = true)] => an_owner_with_nothing_to_append_proves_ownership_before_it_answers;
}

/// Where workspace 1 lies.
fn partition(log: &dyn EventLog) -> ContextPartition {
    ContextPartition { context: BANK, partition: scope(1).slot().partition(log.partitions(BANK)) }
}

async fn scripted(faults: impl IntoIterator<Item = Option<Fault>>) -> (Arc<MemoryLog>, Engine) {
    let log =
        MemoryLog::with_options(&[BANK], MemoryOptions { faults: Faults::scripted(faults), ..Default::default() });
    let shared: Arc<dyn EventLog> = log.clone();
    let engine = start(&shared).await;
    (log, engine)
}

async fn an_aborted_append_wrote_nothing_and_may_be_sent_again() {
    let (_log, running) = scripted([Some(Fault::Abort)]).await;
    let engine = running.handle();
    let failed = send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap_err();
    assert!(matches!(failed, CommandError::Aborted { .. }));
    let answer = send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    assert!(!answer.replayed && answer.created);
}

async fn an_append_of_unknown_outcome_is_answered_from_the_log() {
    for fault in [Fault::UnknownCommitted, Fault::UnknownLate] {
        let (_log, running) = scripted([Some(fault)]).await;
        let engine = running.handle();
        let answer = send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap();
        assert!(answer.created && !answer.replayed, "{fault:?}");
        assert_eq!(answer.events.len(), 1);
        assert!(send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap().replayed);
    }
    let (_log, running) = scripted([Some(Fault::UnknownLost)]).await;
    let engine = running.handle();
    let lost = send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap_err();
    assert!(matches!(lost, CommandError::Aborted { .. }));
    assert!(!send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap().replayed);
}

async fn a_spent_writer_is_claimed_again_before_anybody_notices() {
    let (_log, running) = scripted([Some(Fault::Spend), Some(Fault::Spend), None]).await;
    let engine = running.handle();
    send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    for (request, balance) in [("first", 1), ("second", 2)] {
        let answer = send(&engine, request, 1, "deposit", json!({"amount": 1})).await.unwrap();
        assert!(!answer.replayed && answer.version == Sequence(1 + balance), "{request}: {answer:?}");
    }
}

async fn a_fenced_owner_forgets_and_refuses() {
    let (log, engine) = scripted([None]).await;
    let handle = engine.handle();
    send(&handle, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    let at = partition(&*log);
    log.claim_by_rival(at);
    let fenced = send(&handle, "d", 1, "deposit", json!({"amount": 1})).await.unwrap_err();
    assert_eq!(fenced, CommandError::NotOwner(at));
    assert!(handle.aggregate(address(scope(1), 1), deadline()).await.is_err());
    assert!(handle.partitions().iter().any(|status| status.at == at && status.state == PartitionState::NotOwner));
}

async fn an_owner_with_nothing_to_append_proves_ownership_before_it_answers() {
    let (log, engine) = scripted([None]).await;
    let handle = engine.handle();
    send(&handle, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    log.claim_by_rival(partition(&*log));
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    // A replay, a refusal and a read would all be answered from memory, and all might be stale.
    let replay = send(&handle, "o", 1, "open", json!({"name": "a"})).await;
    assert!(matches!(replay, Err(CommandError::NotOwner(_))), "{replay:?}");
    assert!(handle.aggregate(address(scope(1), 1), deadline()).await.is_err());
}

#[tokio::test]
async fn a_damaged_partition_stops_and_says_where() {
    let log = MemoryLog::new(&[BANK]);
    let shared: Arc<dyn EventLog> = log.clone();
    let at = partition(&*shared);
    log.push_unchecked(at, b"not a record");
    let engine = start(&shared).await;
    let handle = engine.handle();
    handle.settled().await;
    let stopped = send(&handle, "o", 1, "open", json!({"name": "a"})).await.unwrap_err();
    assert!(matches!(stopped, CommandError::Stopped { at: stopped_at, .. } if stopped_at == at), "{stopped:?}");
}

async fn a_log_that_cannot_be_read_now_is_no_damaged_log() {
    let (log, running) = scripted([None]).await;
    let engine = running.handle();
    let opened = send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    log.set_faults(Faults::none().with_failing_reads(1_000));
    // Both are answered with events that lie in the log.
    let again = send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap_err();
    assert_eq!(again, CommandError::Unanswered);
    let history = engine.history(address(scope(1), 1), Sequence::ZERO, 9, deadline()).await.unwrap_err();
    // Nobody's queue is full.
    assert!(matches!(history, ReadFailure::Busy { reason: NotNow::LogSilent, .. }), "{history:?}");
    log.set_faults(Faults::none());
    assert_eq!(send(&engine, "o", 1, "open", json!({"name": "a"})).await.unwrap().events, opened.events);
}

#[tokio::test]
async fn a_log_that_fails_is_told_once_however_often_it_is_asked_and_so_is_its_end() {
    let lines = Lines::of_this_thread();
    let open = json!({"name": "a"});
    let (log, running) = scripted(std::iter::once(None).chain(vec![Some(Fault::Abort); 20])).await;
    let engine = running.handle();
    send(&engine, "o", 1, "open", open.clone()).await.unwrap();
    for n in 0..20 {
        let failed = send(&engine, &format!("d{n}"), 1, "deposit", json!({"amount": 1})).await;
        assert!(matches!(failed, Err(CommandError::Aborted { .. })), "{failed:?}");
    }
    assert_eq!((lines.count("WARN", "append aborted"), lines.count("INFO", "durable again")), (1, 0));
    send(&engine, "d", 1, "deposit", json!({"amount": 1})).await.unwrap();
    assert_eq!((lines.count("WARN", "append aborted"), lines.count("INFO", "durable again")), (1, 1));

    let history = || engine.history(address(scope(1), 1), Sequence::ZERO, 9, deadline());
    for _ in 0..2 {
        log.set_faults(Faults::none().with_failing_reads(1_000));
        for _ in 0..20 {
            history().await.unwrap_err();
        }
        log.set_faults(Faults::none());
        history().await.unwrap();
    }
    assert_eq!((lines.count("WARN", "cannot be read now"), lines.count("INFO", "can be read again")), (2, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Many clients with retries over a log that fails in every way.
    #[test]
    fn acknowledged_commands_are_in_the_log_exactly_once(seed: u64, per_mille in 0u64..300) {
        let memory = if seed.is_multiple_of(2) { Memory::Warm } else { Memory::Cold };
        let options = EngineOptions { state_stores: memory.stores(), ..EngineOptions::new(owner("one")) };
        let checked = check(seed, per_mille, |log| log, &options);
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}

async fn behind_a_command_that_was_not_decided_none_that_rests_on_it_is() {
    let log = MemoryLog::new(&[BANK]);
    let shared: Arc<dyn EventLog> = log.clone();
    let running = start(&shared).await;
    let engine = running.handle();
    let opens = |id: &str| request(id, 1, "open", json!({"name": "a"}));
    let deposits = |id: &str| request(id, 1, "deposit", json!({"amount": 1}));
    log.set_faults(Faults::scripted([Some(Fault::Abort)]));
    let chain = Chain::default();
    let lost = linked(&engine, chain.link(2), opens("o"), deadline()).await.unwrap_err();
    assert!(matches!(lost, CommandError::Aborted { .. }), "{lost:?}");
    let behind = linked(&engine, chain.link(3), deposits("d"), deadline()).await.unwrap_err();
    assert_eq!(behind, CommandError::BehindUndecided);
    assert!(!chain.is_under_way());
    // What comes before it, or rests on nothing, is decided.
    let before = linked(&engine, chain.link(1), deposits("b"), deadline()).await.unwrap_err();
    assert!(before.is_final(), "{before:?}");
    engine.execute(opens("o"), deadline()).await.unwrap();

    // Too late to be decided, whoever has been told what.
    let chain = Chain::default();
    let late = linked(&engine, chain.link(1), deposits("d"), Instant::now()).await.unwrap_err();
    assert_eq!(late, CommandError::Unanswered);
    let behind = linked(&engine, chain.link(2), deposits("e"), deadline()).await.unwrap_err();
    assert_eq!(behind, CommandError::BehindUndecided);
}

async fn linked(
    engine: &EngineHandle,
    link: Link,
    request: CommandRequest,
    deadline: Instant,
) -> Result<CommandAnswer, CommandError> {
    let admitted = engine.admit(request, deadline).await?;
    engine.execute_in(Some(link), admitted, deadline).await
}
