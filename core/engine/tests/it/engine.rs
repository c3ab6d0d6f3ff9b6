//! What a client is promised for one command, without faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use annals_engine::command::{CommandAnswer, CommandError, CommandRequest};
use annals_engine::log::checked::CheckedReader;
use annals_engine::log::memory::{MemoryLog, MemoryOptions};
use annals_engine::log::{AppendBatch, AppendOutcome, Claimed, EventLog, Owner};
use annals_engine::owners::{Engine, EngineHandle, EngineOptions, StateStores};
use annals_engine::published::SchemaError;
use annals_model::envelope::{Envelope, put_frame};
use annals_model::ids::{CommitIndex, CorrelationId, EventId, OperationId, Partition, TenantId};
use annals_model::position::{Checkpoint, ContextPartition, Ordinal, Sequence};
use annals_model::time::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::accounts::{BANK, UNSHOWABLE, account, address, application, request, request_in, scope};
use crate::stores::{Memory, StoreBug, TestStore, on_each_memory, watched};

on_each_memory! {
    #[tokio::test] => an_accepted_command_is_answered_with_its_events_and_a_retry_with_the_same, the_ledger_and_the_states_survive_the_loss_of_everything_but_the_log, a_request_id_names_one_command_for_ever, existence_and_versions_are_checked_by_the_engine, a_new_aggregates_id_derives_from_its_request, unique_keys_and_references_follow_the_states, commands_of_one_batch_see_each_others_effects, histories_are_paged_by_sequence_and_operations_found_by_id, an_event_is_found_by_its_id_with_its_whole_envelope, a_command_without_a_trace_is_recorded_under_its_operation, a_record_from_before_traces_is_shown_under_its_operation, two_that_have_one_value_since_values_have_a_normal_form_both_go_on, what_a_fold_makes_does_not_depend_on_where_its_batches_end, a_command_whose_records_fill_an_append_is_refused_and_harms_no_other, a_state_that_is_not_in_memory_is_loaded_and_the_decision_made_again, a_clock_that_goes_back_does_not_take_the_log_with_it;
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner { id: name.to_owned(), address: String::new() }
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(crate) async fn start(log: &Arc<dyn EventLog>) -> Engine {
    let options = EngineOptions { state_stores: Memory::of_test().stores(), ..EngineOptions::new(owner("one")) };
    Engine::start(Arc::clone(log), &application(), &options).await.unwrap()
}

fn log() -> Arc<dyn EventLog> {
    MemoryLog::new(&[BANK])
}

pub(crate) async fn send(
    engine: &EngineHandle,
    request_id: &str,
    id: u128,
    name: &str,
    payload: Value,
) -> Result<CommandAnswer, CommandError> {
    engine.execute(request(request_id, id, name, payload), deadline()).await
}

async fn open(engine: &EngineHandle, id: u128, name: &str) -> CommandAnswer {
    send(engine, &format!("open-{id}"), id, "open", json!({"name": name})).await.unwrap()
}

async fn an_accepted_command_is_answered_with_its_events_and_a_retry_with_the_same() {
    let log = log();
    let running = start(&log).await;
    let engine = running.handle();
    let first = open(&engine, 1, "a").await;
    assert!(first.created && !first.replayed);
    assert_eq!((first.version, first.events.len()), (Sequence(1), 1));
    assert_eq!(first.events[0].event_type, "account.opened");
    let split = send(&engine, "s", 1, "split", json!({"parts": 3})).await.unwrap();
    assert_eq!((split.version, split.events.len(), split.created), (Sequence(4), 3, false));

    for (answer, id, name, payload) in
        [(first, "open-1", "open", json!({"name": "a"})), (split, "s", "split", json!({"parts": 3}))]
    {
        let again = send(&engine, id, 1, name, payload).await.unwrap();
        assert!(again.replayed);
        assert_eq!(CommandAnswer { replayed: false, ..again }, answer);
    }
}

async fn the_ledger_and_the_states_survive_the_loss_of_everything_but_the_log() {
    let log = log();
    let engine = start(&log).await;
    let handle = engine.handle();
    open(&handle, 1, "a").await;
    let deposit = send(&handle, "d", 1, "deposit", json!({"amount": 5})).await.unwrap();
    let nothing = send(&handle, "n", 1, "deposit", json!({"amount": 0})).await.unwrap();
    assert!(nothing.events.is_empty());
    let view = handle.aggregate(address(scope(1), 1), deadline()).await.unwrap();
    engine.shutdown().await;
    let late = send(&handle, "late", 1, "deposit", json!({"amount": 5})).await.unwrap_err();
    assert!(matches!(late, CommandError::NotOwner(_)), "{late:?}");

    let running = start(&log).await;
    let engine = running.handle();
    let again = engine.aggregate(address(scope(1), 1), deadline()).await.unwrap();
    // The position moved on over the second claim; nothing else did.
    assert_eq!(again.map(|found| (found.version, found.state)), view.map(|found| (found.version, found.state)));
    for (id, amount, before) in [("d", 5, deposit), ("n", 0, nothing)] {
        let again = send(&engine, id, 1, "deposit", json!({"amount": amount})).await.unwrap();
        assert_eq!(again, CommandAnswer { replayed: true, ..before });
    }
    let taken = send(&engine, "o2", 2, "open", json!({"name": "a"})).await.unwrap_err();
    assert_eq!(taken, CommandError::UniqueKeyTaken { key: "account.name", holder: account(1) });
}

async fn a_request_id_names_one_command_for_ever() {
    let running = start(&log()).await;
    let engine = running.handle();
    let first = open(&engine, 1, "a").await;
    let other = send(&engine, "open-1", 1, "open", json!({"name": "b"})).await.unwrap_err();
    assert_eq!(other, CommandError::FingerprintMismatch { operation: first.operation_id });
    // The same id in another scope is another request.
    let elsewhere = request_in(scope(2), "open-1", 1, "open", json!({"name": "a"}));
    assert!(!engine.execute(elsewhere, deadline()).await.unwrap().replayed);
}

async fn existence_and_versions_are_checked_by_the_engine() {
    let running = start(&log()).await;
    let engine = running.handle();
    let absent = send(&engine, "d", 1, "deposit", json!({"amount": 1})).await.unwrap_err();
    assert_eq!(absent, CommandError::NotFound { aggregate_type: "account", id: account(1) });
    open(&engine, 1, "a").await;
    let again = send(&engine, "x", 1, "open", json!({"name": "b"})).await.unwrap_err();
    let version = Some(Sequence(1));
    assert_eq!(again, CommandError::AlreadyExists { aggregate_type: "account", id: account(1), version });
    let mut stale = request("v", 1, "deposit", json!({"amount": 1}));
    stale.expected_version = Some(Sequence(3));
    assert_eq!(
        engine.execute(stale.clone(), deadline()).await.unwrap_err(),
        CommandError::VersionConflict { expected: Sequence(3), actual: Sequence(1) }
    );
    stale.expected_version = Some(Sequence(1));
    assert_eq!(engine.execute(stale, deadline()).await.unwrap().version, Sequence(2));
    let mut nameless = request("w", 1, "deposit", json!({"amount": 1}));
    nameless.aggregate_id = None;
    assert_eq!(
        engine.execute(nameless, deadline()).await.unwrap_err(),
        CommandError::AggregateIdMissing { created_by: &["open"] }
    );
}

async fn a_new_aggregates_id_derives_from_its_request() {
    let running = start(&log()).await;
    let engine = running.handle();
    let mut create = request("c", 1, "open", json!({"name": "a"}));
    create.aggregate_id = None;
    let first = engine.execute(create.clone(), deadline()).await.unwrap();
    let again = engine.execute(create, deadline()).await.unwrap();
    assert_eq!((again.aggregate_id, again.replayed), (first.aggregate_id, true));
}

async fn unique_keys_and_references_follow_the_states() {
    let running = start(&log()).await;
    let engine = running.handle();
    open(&engine, 1, "a").await;
    let child = json!({"name": "child", "parent": account(1)});
    send(&engine, "c", 2, "open", child).await.unwrap();
    let held = send(&engine, "x1", 1, "close", json!({})).await.unwrap_err();
    assert!(matches!(held, CommandError::Rejected(refusal) if refusal.code == "still_needed" && refusal.details == 1));
    send(&engine, "x2", 2, "close", json!({})).await.unwrap();
    send(&engine, "x3", 1, "close", json!({})).await.unwrap();
    // The name is free again, and a closed parent is none.
    open(&engine, 3, "a").await;
    let orphan = json!({"name": "orphan", "parent": account(1)});
    let refused = send(&engine, "o", 4, "open", orphan).await.unwrap_err();
    assert!(matches!(refused, CommandError::Rejected(refusal) if refusal.code == "no_such_account"));
}

async fn commands_of_one_batch_see_each_others_effects() {
    let running = start(&log()).await;
    let engine = running.handle();
    // Sent without waiting: they queue while the first append runs, and are decided in one batch.
    let sends = (0..40u128).map(|n| {
        let engine = engine.clone();
        async move { send(&engine, &format!("o{n}"), n, "open", json!({"name": format!("name-{}", n % 20)})).await }
    });
    let answers = futures_util::future::join_all(sends).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20);
    assert!(answers.iter().skip(20).all(|a| matches!(a, Err(CommandError::UniqueKeyTaken { .. }))));
    // Duplicates in flight together: one append, one answer.
    let sends = (0..30).map(|_| send(&engine, "dup", 1, "deposit", json!({"amount": 1})));
    let answers = futures_util::future::join_all(sends).await;
    assert_eq!(answers.iter().filter(|answer| !answer.as_ref().unwrap().replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().version == Sequence(2)));
}

async fn histories_are_paged_by_sequence_and_operations_found_by_id() {
    let running = start(&log()).await;
    let engine = running.handle();
    let opened = open(&engine, 1, "a").await;
    send(&engine, "s", 1, "split", json!({"parts": 5})).await.unwrap();
    let page = |after, limit| engine.history(address(scope(1), 1), Sequence(after), limit, deadline());
    let sequences =
        |events: &[annals_engine::command::HistoryEvent]| events.iter().map(|e| e.sequence.0).collect::<Vec<_>>();
    assert_eq!(sequences(&page(0, 4).await.unwrap().unwrap()), [1, 2, 3, 4]);
    let rest = page(4, 4).await.unwrap().unwrap();
    assert_eq!(sequences(&rest), [5, 6]);
    assert_eq!(rest[1].payload, json!({"amount": 4}));
    assert_eq!(page(6, 4).await.unwrap(), Some(vec![]));
    assert_eq!(engine.history(address(scope(2), 1), Sequence(0), 4, deadline()).await.unwrap(), None);
    let tenant = scope(1).tenant;
    let found = engine.operation(tenant, opened.operation_id, deadline()).await.unwrap().unwrap();
    assert_eq!(found, CommandAnswer { replayed: true, ..opened.clone() });
    let stranger = TenantId(Uuid::from_u128(8));
    assert_eq!(engine.operation(stranger, opened.operation_id, deadline()).await.unwrap(), None);
    assert_eq!(engine.operation(tenant, OperationId(Uuid::from_u128(3)), deadline()).await.unwrap(), None);
}

async fn an_event_is_found_by_its_id_with_its_whole_envelope() {
    let running = start(&log()).await;
    let engine = running.handle();
    open(&engine, 1, "a").await;
    let answer = send(&engine, "s", 1, "split", json!({"parts": 3})).await.unwrap();
    let history = engine.history(address(scope(1), 1), Sequence(1), 9, deadline()).await.unwrap().unwrap();
    let tenant = scope(1).tenant;
    for (event, listed) in answer.events.iter().zip(history) {
        assert_eq!(engine.event(tenant, event.event_id, deadline()).await.unwrap(), Some(listed.clone()));
        assert_eq!((listed.tenant_id, listed.workspace_id), (tenant, scope(1).workspace));
        assert_eq!((listed.aggregate_type.as_str(), listed.aggregate_id), ("account", account(1)));
        let stranger = TenantId(Uuid::from_u128(8));
        assert_eq!(engine.event(stranger, event.event_id, deadline()).await.unwrap(), None);
    }
    let behind = answer.operation_id.event(CommitIndex(3));
    assert_eq!(engine.event(tenant, behind, deadline()).await.unwrap(), None);
    let none = EventId(answer.operation_id.0);
    assert_eq!(engine.event(tenant, none, deadline()).await.unwrap(), None);
}

async fn a_command_without_a_trace_is_recorded_under_its_operation() {
    let log = log();
    let running = start(&log).await;
    let engine = running.handle();
    let untraced = open(&engine, 1, "a").await;
    let trace = CorrelationId(Uuid::from_u128(77));
    let deposit = request("d", 1, "deposit", json!({"amount": 5}));
    let traced = engine.execute(CommandRequest { correlation_id: Some(trace), ..deposit }, deadline()).await.unwrap();
    let mut recorded = std::collections::BTreeMap::new();
    for partition in (0..log.partitions(BANK)).map(Partition) {
        let at = ContextPartition { context: BANK, partition };
        let mut reader = CheckedReader::open(&*log, at, Checkpoint::default()).await.unwrap();
        while let Some(batch) = reader.next().await.unwrap() {
            let found = batch.records.iter().map(|record| (record.envelope.event_id, record.envelope.correlation_id));
            recorded.extend(found);
        }
    }
    assert_eq!(recorded[&untraced.events[0].event_id], Some(CorrelationId(untraced.operation_id.0)));
    assert_eq!(recorded[&traced.events[0].event_id], Some(trace));
}

/// A log as an earlier build wrote it: the records of these, one behind the other, each changed.
async fn as_recorded_before(
    logs: &[&Arc<dyn EventLog>],
    change: impl for<'a> Fn(Envelope<'a>) -> Envelope<'a>,
) -> Arc<dyn EventLog> {
    recorded_before_in(self::log(), logs, change).await
}

/// The same in a log of one's own.
async fn recorded_before_in(
    old: Arc<dyn EventLog>,
    logs: &[&Arc<dyn EventLog>],
    change: impl for<'a> Fn(Envelope<'a>) -> Envelope<'a>,
) -> Arc<dyn EventLog> {
    for partition in (0..old.partitions(BANK)).map(Partition) {
        let at = ContextPartition { context: BANK, partition };
        let Claimed { writer, .. } = old.claim(at, owner("old")).await.unwrap();
        let claim_epoch = writer.claim_epoch();
        let (mut append, mut ordinal) = (AppendBatch::default(), None::<Ordinal>);
        for log in logs {
            let mut reader = CheckedReader::open(&***log, at, Checkpoint::default()).await.unwrap();
            while let Some(batch) = reader.next().await.unwrap() {
                for record in batch.records.iter().filter(|record| !record.is_engine_record()) {
                    let next = ordinal.map_or(record.envelope.ordinal, |ordinal| ordinal.next());
                    let envelope = change(Envelope { claim_epoch, ordinal: next, ..record.envelope.clone() });
                    append.push(|out| {
                        put_frame(out, record.schema);
                        envelope.encode(out);
                        out.extend_from_slice(record.payload);
                    });
                    ordinal = Some(next);
                }
            }
        }
        if !append.is_empty() {
            assert!(matches!(writer.append(append).await, AppendOutcome::Durable { .. }));
        }
    }
    old
}

async fn a_record_from_before_traces_is_shown_under_its_operation() {
    let log = log();
    let running = start(&log).await;
    let opened = open(&running.handle(), 1, "a").await;
    running.shutdown().await;
    let running =
        start(&as_recorded_before(&[&log], |envelope| Envelope { correlation_id: None, ..envelope }).await).await;
    let engine = running.handle();
    let history = engine.history(address(scope(1), 1), Sequence(0), 9, deadline()).await.unwrap().unwrap();
    assert_eq!((history.len(), history[0].event_id), (1, opened.events[0].event_id));
    assert_eq!(history[0].correlation_id, CorrelationId(opened.operation_id.0));
    assert!(open(&engine, 1, "a").await.replayed, "the ledger knows the request all the same");
}

async fn two_that_have_one_value_since_values_have_a_normal_form_both_go_on() {
    let logs = [log(), log()];
    for (log, id) in logs.iter().zip(1..) {
        let running = start(log).await;
        open(&running.handle(), id, "same").await;
        running.shutdown().await;
    }
    let old = as_recorded_before(&[&logs[0], &logs[1]], |envelope| envelope).await;
    let running = start(&old).await;
    let engine = running.handle();
    let taken = send(&engine, "third", 3, "open", json!({"name": "same"})).await;
    let Err(CommandError::UniqueKeyTaken { holder, .. }) = taken else { panic!("{taken:?}") };
    for id in [1, 2] {
        send(&engine, &format!("d-{id}"), id, "deposit", json!({"amount": 5})).await.unwrap();
    }
    // The one that does not hold it, by whichever was folded last, gives it up: it stays held by the other.
    let other = if holder == account(1) { 2 } else { 1 };
    send(&engine, "e", other, "deposit", json!({"amount": -5})).await.unwrap();
    send(&engine, "c", other, "close", json!({})).await.unwrap();
    assert!(matches!(
        send(&engine, "fourth", 4, "open", json!({"name": "same"})).await,
        Err(CommandError::UniqueKeyTaken { .. })
    ));
}

async fn what_a_fold_makes_does_not_depend_on_where_its_batches_end() {
    let logs = [log(), log()];
    for (log, id) in logs.iter().zip([2, 1]) {
        let running = start(log).await;
        open(&running.handle(), id, "same").await;
        if id == 1 {
            send(&running.handle(), "c", id, "close", json!({})).await.unwrap();
        }
        running.shutdown().await;
    }
    let mut folded = Vec::new();
    for read_records_max in [1, 2, usize::MAX] {
        let options = MemoryOptions { read_records_max, ..MemoryOptions::default() };
        let old = MemoryLog::with_options(&[BANK], options);
        let old = recorded_before_in(old, &[&logs[0], &logs[1]], |envelope| envelope).await;
        let (state_stores, memories) = watched(StoreBug::None);
        let options = EngineOptions { state_stores, ..EngineOptions::new(owner("folds")) };
        let running = Engine::start(old, &application(), &options).await.unwrap();
        running.handle().settled().await;
        let memories = memories.lock().unwrap().clone();
        folded.push(memories.into_iter().map(|(at, memory)| (at, memory.digests)).collect::<Vec<_>>());
    }
    assert_eq!(folded[0], folded[2]);
    assert_eq!(folded[1], folded[2]);
}

#[tokio::test]
async fn a_state_is_shown_by_whoever_asks_and_not_by_its_owner() {
    let running = start(&log()).await;
    let engine = running.handle();
    open(&engine, 1, UNSHOWABLE).await;
    let asked = engine.clone();
    let asked = tokio::spawn(async move { asked.aggregate(address(scope(1), 1), deadline()).await.is_ok() });
    assert!(asked.await.unwrap_err().is_panic());
    // Its owner did not notice.
    send(&engine, "d", 1, "deposit", json!({"amount": 1})).await.unwrap();
}

async fn a_command_whose_records_fill_an_append_is_refused_and_harms_no_other() {
    let running = start(&log()).await;
    let engine = running.handle();
    open(&engine, 1, "a").await;
    // A thousand events with four kilobytes of reason each.
    let mut large = request("large", 1, "split", json!({"parts": 1000}));
    large.reason = Some("x".repeat(4_000));
    let small = send(&engine, "small", 1, "deposit", json!({"amount": 1}));
    let late = send(&engine, "late", 1, "deposit", json!({"amount": 1}));
    let (small, large, late) = tokio::join!(small, engine.execute(large, deadline()), late);
    assert!(matches!(large, Err(CommandError::TooLarge { events: 1000, .. })), "{large:?}");
    assert_eq!((small.unwrap().version, late.unwrap().version), (Sequence(2), Sequence(3)));
}

async fn a_state_that_is_not_in_memory_is_loaded_and_the_decision_made_again() {
    let running = start(&log()).await;
    let engine = running.handle();
    open(&engine, 1, "a").await;
    send(&engine, "d", 1, "deposit", json!({"amount": 41})).await.unwrap();
    open(&engine, 2, "b").await;
    let mirrored = send(&engine, "m", 2, "mirror", json!({"other": account(1)})).await.unwrap();
    assert_eq!(mirrored.events[0].data, json!({"amount": 41}));
    // What a decision comes to for want of a state is nothing, a panic neither.
    let known = send(&engine, "k", 2, "mirror_known", json!({"other": account(1)})).await.unwrap();
    assert_eq!(known.events[0].data, json!({"amount": 41}));
    let unknown = send(&engine, "u", 2, "mirror_known", json!({"other": account(7)})).await.unwrap_err();
    assert!(matches!(unknown, CommandError::Defect { .. }), "{unknown:?}");
}

#[tokio::test]
async fn what_was_loaded_for_reads_does_not_stay_in_memory() {
    let most = Arc::new(AtomicUsize::new(0));
    let shown = Arc::clone(&most);
    let state_stores: StateStores =
        Arc::new(move |_| Box::new(TestStore::new(Memory::Cold).counted_in(Arc::clone(&shown))));
    let options = EngineOptions { state_stores, ..EngineOptions::new(owner("cold")) };
    let running = Engine::start(log(), &application(), &options).await.unwrap();
    let engine = running.handle();
    for id in 1..=9 {
        open(&engine, id, &format!("n{id}")).await;
    }
    for id in 1..=9 {
        let seen = engine.aggregate(address(scope(1), id), deadline()).await.unwrap();
        assert_eq!(seen.map(|seen| seen.version), Some(Sequence(1)));
        let absent = engine.aggregate(address(scope(1), id + 100), deadline()).await.unwrap();
        assert_eq!(absent, None);
    }
    assert_eq!(most.load(Ordering::Relaxed), 1);
}

async fn a_clock_that_goes_back_does_not_take_the_log_with_it() {
    let log = log();
    let now = Arc::new(AtomicI64::new(1_000));
    let shown = Arc::clone(&now);
    let options = EngineOptions {
        clock: Arc::new(move || Timestamp(shown.fetch_sub(100, Ordering::Relaxed))),
        ..EngineOptions::new(owner("one"))
    };
    // A second life takes the clock back as well.
    for life in 0..2 {
        let running = Engine::start(Arc::clone(&log), &application(), &options).await.unwrap();
        let engine = running.handle();
        open(&engine, life, &format!("n{life}")).await;
        send(&engine, &format!("s{life}"), life, "split", json!({"parts": 3})).await.unwrap();
        running.shutdown().await;
    }
    assert!(now.load(Ordering::Relaxed) < 1_000, "the clock was asked");
    let at = ContextPartition { context: BANK, partition: scope(1).slot().partition(log.partitions(BANK)) };
    // A reader refuses a time that goes back.
    let mut reader = CheckedReader::open(&*log, at, Checkpoint::default()).await.unwrap();
    let mut times = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        times.extend(batch.records.iter().map(|record| record.envelope.emitted_at));
    }
    assert_eq!((times.len(), times.is_sorted()), (8, true), "{times:?}");
}

#[tokio::test]
async fn the_log_describes_its_schemas_and_refuses_a_build_that_is_too_old() {
    let log = log();
    start(&log).await.shutdown().await;
    assert_eq!(log.meta_list("schema/").await.unwrap().len(), application().schemas.iter().count());
    let newer = json!({"event_type": "account.frozen", "version": 1, "revision": 0, "schema": "{}"});
    log.meta_put("schema/77", newer.to_string().as_bytes()).await.unwrap();
    let refused = Engine::start(Arc::clone(&log), &application(), &EngineOptions::new(owner("old"))).await;
    assert!(matches!(refused, Err(SchemaError::Unknown { id: 77, .. })));
}
