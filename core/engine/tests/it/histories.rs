//! Random histories of commands: whatever happened, an owner's memory is what a fold of the log makes, and what was
//! accepted is answered again.

use std::sync::Arc;

use annals_engine::command::{CommandAnswer, CommandError};
use annals_engine::log::EventLog;
use annals_engine::log::memory::{Faults, MemoryLog, MemoryOptions};
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::verify::verify;
use annals_engine::owners::{Engine, EngineOptions, PartitionState};
use annals_model::ids::{Scope, TenantId, WorkspaceId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::{BANK, account, application, request_in};
use crate::badges::badge_request;
use crate::engine::{deadline, owner};
use crate::stores::{MEMORY, Memories, Memory, StoreBug, watched};

/// Names that accounts compete for.
pub(crate) const NAMES: &[&str] = &["a", "b", "c"];

/// Where commands go: two workspaces of one tenant, and one of these again under another tenant.
const SCOPES: &[(u128, u128)] = &[(7, 1), (7, 2), (8, 1)];

/// One command of a history. Requests' ids are few, so that some repeat: the same command, or another one. Ids of
/// aggregates are few as well, so that scopes, workspaces, tenants and types have them in common.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    request_id: u8,
    scope: usize,
    id: u8,
    name: &'static str,
    payload: Value,
}

/// One life of an engine: rounds of commands that are in flight together, and how it ends.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    rounds: Vec<Vec<Step>>,
    killed: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let parent = prop::option::of(0..5u128);
    let command = prop_oneof![
        4 => (0..NAMES.len(), parent).prop_map(|(name, parent)| {
            ("open", json!({"name": NAMES[name], "parent": parent.map(account)}))
        }),
        3 => (0..3i64).prop_map(|amount| ("deposit", json!({"amount": amount}))),
        1 => (0..4i64).prop_map(|parts| ("split", json!({"parts": parts}))),
        3 => Just(("close", json!({}))),
        1 => (0..5u128).prop_map(|other| ("mirror", json!({"other": account(other)}))),
        2 => Just(("issue", json!({}))),
        2 => Just(("stamp", json!({}))),
    ];
    (0..80u8, 0..SCOPES.len(), 0..5u8, command).prop_map(|(request_id, scope, id, (name, payload))| Step {
        request_id,
        scope,
        id,
        name,
        payload,
    })
}

pub(crate) fn lives() -> impl Strategy<Value = Vec<Life>> {
    let life = (vec(vec(step(), 1..12), 1..6), any::<bool>());
    vec(life.prop_map(|(rounds, killed)| Life { rounds, killed }), 1..4)
}

impl Step {
    fn request(&self) -> annals_engine::command::CommandRequest {
        let request_id = format!("r{}", self.request_id);
        let scope = scope_of(self.scope);
        match self.name {
            "issue" | "stamp" => badge_request(scope, &request_id, self.id.into(), self.name),
            _ => request_in(scope, &request_id, self.id.into(), self.name, self.payload.clone()),
        }
    }
}

fn scope_of(index: usize) -> Scope {
    let (tenant, workspace) = SCOPES[index];
    Scope { tenant: TenantId(Uuid::from_u128(tenant)), workspace: WorkspaceId(Uuid::from_u128(workspace)) }
}

async fn begin(log: &Arc<dyn EventLog>, bug: StoreBug) -> (Engine, Memories) {
    let (state_stores, memories) = watched(bug);
    let options = EngineOptions { state_stores, ..EngineOptions::new(owner("histories")) };
    let engine = Engine::start(Arc::clone(log), &application(), &options).await.unwrap();
    engine.handle().settled().await;
    (engine, memories)
}

/// Lives one life, then folds the log from its start and compares. Adds what was accepted to `accepted`.
pub(crate) async fn live_and_compare(
    log: &Arc<dyn EventLog>,
    life: &Life,
    accepted: &mut Vec<(Step, CommandAnswer)>,
    bug: StoreBug,
    quiet: impl FnOnce(),
) -> Result<(), String> {
    let (engine, live) = begin(log, bug).await;
    let handle = engine.handle();
    for round in &life.rounds {
        let sends = round.iter().map(|step| handle.execute(step.request(), deadline()));
        let answers = futures_util::future::join_all(sends).await;
        accepted.extend(round.iter().cloned().zip(answers).filter_map(|(step, answer)| Some((step, answer.ok()?))));
    }
    quiet();
    handle.settled().await;
    let served: Vec<_> = handle.partitions();
    if life.killed {
        drop(engine);
    } else {
        engine.shutdown().await;
    }
    let (fresh, folded) = MEMORY.scope(Memory::Warm, begin(log, StoreBug::None)).await;
    let (live, folded) = (live.lock().unwrap().clone(), folded.lock().unwrap().clone());
    for status in served.iter().filter(|status| matches!(status.state, PartitionState::Serving { .. })) {
        let (at, live, folded) = (status.at, live.get(&status.at), folded.get(&status.at));
        if live != folded {
            return Err(format!("{at}: the owner holds {live:?}, a fold makes {folded:?}"));
        }
        if let Some(contradiction) = live.and_then(|memory| memory.contradiction.as_ref()) {
            return Err(format!("{at}: {contradiction}"));
        }
    }
    fresh.shutdown().await;
    Ok(())
}

/// Everything accepted is answered again, the same; another command under the same id is refused.
async fn answered_again(log: &Arc<dyn EventLog>, accepted: &[(Step, CommandAnswer)]) -> Result<(), String> {
    let (engine, _) = begin(log, StoreBug::None).await;
    for (step, before) in accepted {
        let again = engine.handle().execute(step.request(), deadline()).await.map_err(|error| error.to_string())?;
        let expected = CommandAnswer { replayed: true, ..before.clone() };
        if again != expected {
            return Err(format!("{step:?} was answered {expected:?}, now {again:?}"));
        }
        // In the scope of the first, so that it is the same id.
        let other = match step.name {
            "issue" | "stamp" => Step { id: step.id + 5, ..step.clone() },
            _ => Step { name: "split", payload: json!({"parts": 9}), ..step.clone() },
        };
        let refused = engine.handle().execute(other.request(), deadline()).await;
        if refused != Err(CommandError::FingerprintMismatch { operation: before.operation_id }) {
            return Err(format!("another command under the id of {step:?} was answered {refused:?}"));
        }
    }
    engine.shutdown().await;
    let report = verify(&**log, &[BANK], &|_| true, &mut |_| {}).await.map_err(|error| error.to_string())?;
    if report.is_sound() { Ok(()) } else { Err(format!("{:?}", report.findings)) }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// A whole history over the test log, which fails by seed.
async fn history_in_memory(lives: &[Life], seed: u64, per_mille: u64, bug: StoreBug) -> Result<(), String> {
    // One partition now and then, so that all scopes share it.
    let partitions = if seed.is_multiple_of(2) { 1 } else { MemoryOptions::default().partitions };
    let options = MemoryOptions { partitions, holes_seed: Some(seed), ..MemoryOptions::default() };
    let log = MemoryLog::with_options(&[BANK], options);
    let shared: Arc<dyn EventLog> = log.clone();
    let mut accepted = Vec::new();
    for (life, seed) in lives.iter().zip(seed..) {
        log.set_faults(Faults::seeded(seed, per_mille));
        live_and_compare(&shared, life, &mut accepted, bug, || log.set_faults(Faults::none())).await?;
    }
    answered_again(&shared, &accepted).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_random_history_replays_to_what_its_owners_remembered(lives in lives(), seed in 0..u64::MAX / 2, per_mille in 0u64..200) {
        // An owner with cold states remembers what one with warm ones does: both are compared to the same.
        let memory = if seed % 3 == 0 { Memory::Cold } else { Memory::Warm };
        let history = history_in_memory(&lives, seed, per_mille, StoreBug::None);
        let compared = paused().block_on(MEMORY.scope(memory, history));
        prop_assert!(compared.is_ok(), "{}", compared.unwrap_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn a_random_history_on_sqlite_with_restarts_replays_to_what_its_owners_remembered(lives in lives(), seed: u64) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let compared = runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log.sqlite");
            let mut accepted = Vec::new();
            for life in &lives {
                let partitions = seed.is_multiple_of(2).then_some(1);
                let options = SqliteOptions { partitions, holes_seed: Some(seed), ..SqliteOptions::default() };
                let log = SqliteLog::open(&path, &[BANK], options).await.unwrap();
                let shared: Arc<dyn EventLog> = log.clone();
                live_and_compare(&shared, life, &mut accepted, StoreBug::None, || {}).await?;
                log.close().await;
            }
            let log: Arc<dyn EventLog> = SqliteLog::open(&path, &[BANK], SqliteOptions::default()).await.unwrap();
            answered_again(&log, &accepted).await
        });
        prop_assert!(compared.is_ok(), "{}", compared.unwrap_err());
    }
}

#[tokio::test]
async fn one_id_in_several_workspaces_tenants_and_types_is_several_aggregates_and_the_log_is_sound() {
    let options = MemoryOptions { partitions: 1, ..MemoryOptions::default() };
    let log: Arc<dyn EventLog> = MemoryLog::with_options(&[BANK], options);
    let (engine, _) = begin(&log, StoreBug::None).await;
    let step = |scope, request_id, name, payload| Step { request_id, scope, id: 1, name, payload };
    for scope in 0..SCOPES.len() {
        for (request_id, name, payload) in [
            (1, "open", json!({"name": "a", "parent": null})),
            (2, "deposit", json!({"amount": 1})),
            // Nothing to do: a record of the engine's own, in the scope's count.
            (3, "deposit", json!({"amount": 0})),
            (4, "split", json!({"parts": 3})),
        ] {
            engine.handle().execute(step(scope, request_id, name, payload).request(), deadline()).await.unwrap();
        }
    }
    // Of a tenant, about one workspace of it: the same id is there once, whatever it is about.
    let issue = |scope, request_id| step(scope, request_id, "issue", json!({})).request();
    engine.handle().execute(issue(0, 5), deadline()).await.unwrap();
    let taken = engine.handle().execute(issue(1, 6), deadline()).await.unwrap_err();
    assert!(matches!(taken, CommandError::AlreadyExists { .. }), "{taken:?}");
    engine.handle().execute(issue(2, 5), deadline()).await.unwrap();
    engine.shutdown().await;
    let report = verify(&*log, &[BANK], &|_| true, &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.partitions[0].aggregates, SCOPES.len() as u64 + 2);
}

#[test]
fn a_store_that_forgets_what_was_set_free_is_noticed() {
    for bug in [StoreBug::KeepsUniqueKeys, StoreBug::KeepsReferences] {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let noticed = (0..160).any(|seed| {
            let lives = lives().new_tree(&mut runner).unwrap().current();
            let compared = paused().block_on(history_in_memory(&lives, seed, 0, bug));
            compared.is_err_and(|difference| difference.contains("a fold makes"))
        });
        assert!(noticed, "{bug:?}");
    }
}
