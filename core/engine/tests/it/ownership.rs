//! Several engines on one log, as several processes are: partitions move between them, and nothing is lost or repeated.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use annals_engine::command::{CommandError, ReadFailure};
use annals_engine::log::memory::MemoryLog;
use annals_engine::log::verify::verify;
use annals_engine::log::{EventLog, Owner};
use annals_engine::owners::{Assigned, Assignment, Engine, EngineHandle, EngineOptions, PartitionState};
use annals_model::application::Application;
use annals_model::ids::{Partition, Scope};
use annals_model::position::{ContextPartition, Ordinal};
use serde_json::json;
use tokio::sync::watch;

use crate::accounts::{BANK, address, application, old_application, scope};
use crate::badges::badge_request;
use crate::buggy_log::{BuggyLog, LogBug};
use crate::engine::{deadline, send};
use crate::stores::{Memories, StoreBug, on_each_memory, watched};

on_each_memory! {
    #[tokio::test(start_paused = true)] => a_partition_is_owned_while_it_is_assigned_and_its_ledger_moves_with_it, what_is_queued_when_a_partition_is_revoked_is_answered_before_it_is_released, a_fenced_node_claims_again_only_after_a_pause_and_only_what_is_still_assigned_to_it, two_nodes_that_both_believe_in_an_assignment_do_not_fence_each_other_for_ever, an_owner_that_is_behind_what_a_reader_was_told_proves_that_it_is_the_owner_still;
    #[tokio::test] => a_node_that_stands_by_has_folded_what_the_owner_appended, a_build_that_cannot_fold_the_log_fences_nobody_and_leaves_the_partition_to_those_who_can;
}

/// A node and what it should own.
struct Node {
    engine: Engine,
    assigned: watch::Sender<Assigned>,
    memories: Memories,
}

impl Node {
    async fn start(log: &Arc<dyn EventLog>, name: &str) -> Self {
        Self::of_build(log, name, &application()).await
    }

    async fn of_build(log: &Arc<dyn EventLog>, name: &str, application: &Application) -> Self {
        let (assigned, following) = watch::channel(Assigned::default());
        let (state_stores, memories) = watched(StoreBug::None);
        let options = EngineOptions {
            assignment: Assignment::shared(following),
            state_stores,
            ..EngineOptions::new(Owner { id: name.to_owned(), address: format!("{name}:1") })
        };
        let engine = Engine::start(Arc::clone(log), application, &options).await.unwrap();
        Self { engine, assigned, memories }
    }

    fn handle(&self) -> EngineHandle {
        self.engine.handle()
    }

    fn assign(&self, partitions: impl IntoIterator<Item = ContextPartition>) {
        self.assigned.send_replace(Arc::new(partitions.into_iter().collect::<BTreeSet<_>>()));
    }

    async fn serves(&self, at: ContextPartition) {
        until(|| matches!(self.handle().state(at), Some(PartitionState::Serving { .. }))).await;
    }
}

fn partition(log: &dyn EventLog) -> ContextPartition {
    ContextPartition { context: BANK, partition: scope(1).slot().partition(log.partitions(BANK)) }
}

fn log() -> (Arc<MemoryLog>, Arc<dyn EventLog>) {
    let log = MemoryLog::new(&[BANK]);
    (Arc::clone(&log), log)
}

/// Waits for a condition.
async fn until(condition: impl Fn() -> bool) {
    let looked = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), looked).await.unwrap();
}

async fn a_partition_is_owned_while_it_is_assigned_and_its_ledger_moves_with_it() {
    let (_, log) = log();
    let at = partition(&*log);
    let (one, two) = (Node::start(&log, "one").await, Node::start(&log, "two").await);
    let refused = send(&one.handle(), "o", 1, "open", json!({"name": "a"})).await.unwrap_err();
    assert_eq!(refused, CommandError::NotOwner(at));
    one.assign([at]);
    one.serves(at).await;
    let opened = send(&one.handle(), "o", 1, "open", json!({"name": "a"})).await.unwrap();

    one.assign([]);
    one.handle().released(&[at]).await;
    assert_eq!(one.handle().state(at), Some(PartitionState::NotOwner));
    two.assign([at]);
    two.serves(at).await;
    let again = send(&two.handle(), "o", 1, "open", json!({"name": "a"})).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.events, opened.events);
    let here = send(&one.handle(), "d", 1, "deposit", json!({"amount": 1})).await.unwrap_err();
    assert_eq!(here, CommandError::NotOwner(at));
    assert!(two.handle().aggregate(address(scope(1), 1), deadline()).await.unwrap().is_some());
}

async fn what_is_queued_when_a_partition_is_revoked_is_answered_before_it_is_released() {
    let (_, log) = log();
    let at = partition(&*log);
    let node = Node::start(&log, "one").await;
    node.assign([at]);
    node.serves(at).await;
    send(&node.handle(), "o", 1, "open", json!({"name": "a"})).await.unwrap();
    let handle = node.handle();
    let deposits = (0..20).map(|n| {
        let handle = handle.clone();
        async move { send(&handle, &format!("d{n}"), 1, "deposit", json!({"amount": 1})).await }
    });
    // The first poll of each queues its command; then the partition is revoked, and only then does the owner run.
    let answers =
        futures_util::future::join(futures_util::future::join_all(deposits), async { node.assign([]) }).await.0;
    for answer in answers {
        answer.unwrap();
    }
    node.handle().released(&[at]).await;
}

async fn a_node_that_stands_by_has_folded_what_the_owner_appended() {
    let (_, log) = log();
    let at = partition(&*log);
    let (owner, standby) = (Node::start(&log, "one").await, Node::start(&log, "two").await);
    owner.assign([at]);
    owner.serves(at).await;
    send(&owner.handle(), "o", 1, "open", json!({"name": "a"})).await.unwrap();
    send(&owner.handle(), "s", 1, "split", json!({"parts": 3})).await.unwrap();
    let folded = || standby.memories.lock().unwrap().get(&at).map(|memory| memory.ordinal);
    until(|| folded() == Some(Ordinal(4))).await;
    // It goes on from there, and nothing is folded twice: sequences would not follow each other.
    standby.assign([at]);
    standby.serves(at).await;
    let deposit = send(&standby.handle(), "d", 1, "deposit", json!({"amount": 1})).await.unwrap();
    assert_eq!(deposit.version.0, 5);
}

async fn a_fenced_node_claims_again_only_after_a_pause_and_only_what_is_still_assigned_to_it() {
    let (memory, log) = log();
    let at = partition(&*log);
    let node = Node::start(&log, "one").await;
    node.assign([at]);
    node.serves(at).await;
    send(&node.handle(), "o", 1, "open", json!({"name": "a"})).await.unwrap();
    memory.claim_by_rival(at);
    let fenced = send(&node.handle(), "d", 1, "deposit", json!({"amount": 1})).await.unwrap_err();
    assert_eq!(fenced, CommandError::NotOwner(at));
    let before = tokio::time::Instant::now();
    node.serves(at).await;
    assert!(before.elapsed() >= Duration::from_secs(1), "{:?}", before.elapsed());
    send(&node.handle(), "d", 1, "deposit", json!({"amount": 1})).await.unwrap();

    memory.claim_by_rival(at);
    send(&node.handle(), "e", 1, "deposit", json!({"amount": 1})).await.unwrap_err();
    node.assign([]);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(node.handle().state(at), Some(PartitionState::NotOwner));
}

async fn two_nodes_that_both_believe_in_an_assignment_do_not_fence_each_other_for_ever() {
    let (_, log) = log();
    let at = partition(&*log);
    let nodes = [Node::start(&log, "one").await, Node::start(&log, "two").await];
    nodes.iter().for_each(|node| node.assign([at]));
    nodes[0].serves(at).await;
    send_to_any(&nodes, "o", "open", json!({"name": "a"})).await;
    for n in 0..200 {
        send_to_any(&nodes, &format!("d{n}"), "deposit", json!({"amount": 1})).await;
    }
    // Once it is put right, one owner is left, and everything was done once.
    nodes[1].assign([]);
    nodes[0].serves(at).await;
    send_to_any(&nodes, "last", "deposit", json!({"amount": 1})).await;
    let view = nodes[0].handle().aggregate(address(scope(1), 1), deadline()).await.unwrap().unwrap();
    assert_eq!(view.version.0, 202);
}

/// A client that tries one node and then the other until it is answered.
async fn send_to_any(nodes: &[Node; 2], request_id: &str, name: &str, payload: serde_json::Value) {
    for attempt in 0..1_000 {
        match send(&nodes[attempt % 2].handle(), request_id, 1, name, payload.clone()).await {
            Ok(_) => return,
            Err(CommandError::NotOwner(_) | CommandError::Aborted { .. } | CommandError::Unanswered) => {}
            Err(error) => panic!("{request_id}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{request_id} was never answered");
}

#[tokio::test]
async fn owners_are_known_by_address_and_a_late_entry_of_an_older_owner_is_put_right() {
    let (_, log) = log();
    let at = partition(&*log);
    let (one, two) = (Node::start(&log, "one").await, Node::start(&log, "two").await);
    let known = |node: &Node| node.handle().owner(at).map(|owner| owner.address);
    two.assign([at]);
    until(|| known(&one).as_deref() == Some("two:1")).await;
    let entry = one.handle().owner(at).unwrap();
    let late = json!({"owner": "gone", "address": "gone:1", "claim_epoch": 0});
    let key = format!("owner/{}/{}", BANK.name, at.partition.0);
    log.meta_put(&key, late.to_string().as_bytes()).await.unwrap();
    // Who has heard of the newer one is not misled, and the owner puts its own entry back for those who have not.
    let third = Node::start(&log, "three").await;
    until(|| third.handle().owner(at).as_ref() == Some(&entry)).await;
    assert_eq!(one.handle().owner(at), Some(entry));
    // Nobody owns the others.
    let other = ContextPartition { partition: Partition((at.partition.0 + 1) % log.partitions(BANK)), ..at };
    assert_eq!(one.handle().owner(other), None);
}

async fn a_build_that_cannot_fold_the_log_fences_nobody_and_leaves_the_partition_to_those_who_can() {
    let (_, log) = log();
    // Tenant-level things lie in the partition of the tenant.
    let of_tenant = Scope::of_tenant(scope(1).tenant).slot().partition(log.partitions(BANK));
    let at = ContextPartition { context: BANK, partition: of_tenant };
    let old = Node::of_build(&log, "old", &old_application()).await;
    let new = Node::start(&log, "new").await;
    new.assign([at]);
    new.serves(at).await;
    let stamp = |request_id: &str, name| badge_request(scope(1), request_id, 1, name);
    new.handle().execute(stamp("i", "issue"), deadline()).await.unwrap();
    // In the middle of an upgrade the partition is given to a node that was not upgraded yet.
    old.assign([at]);
    until(|| matches!(old.handle().state(at), Some(PartitionState::Stopped { .. }))).await;
    new.handle().execute(stamp("s", "stamp"), deadline()).await.unwrap();
    let claims = verify(&*log, &[BANK], &|_| true, &mut |_| {}).await.unwrap();
    let claims: u64 = claims.partitions.iter().filter(|found| found.at == at).map(|found| found.claims).sum();
    assert_eq!(claims, 1, "the owner was fenced by a node that cannot serve");
    // Once it is put right, the old node is a node like others: it knows who serves.
    old.assign([]);
    until(|| old.handle().state(at) == Some(PartitionState::NotOwner)).await;
    until(|| old.handle().owner(at).is_some_and(|owner| owner.owner == "new")).await;
    assert!(!old.handle().unreachable().iter().any(|status| status.at == at));
    // And it can be given the partition again, with the same end.
    old.assign([at]);
    until(|| matches!(old.handle().state(at), Some(PartitionState::Stopped { .. }))).await;
    for node in [old, new] {
        node.engine.shutdown().await;
    }
}

#[tokio::test]
async fn a_node_that_cannot_make_itself_known_knows_the_others_all_the_same() {
    let memory = MemoryLog::new(&[BANK]);
    let log: Arc<dyn EventLog> = memory.clone();
    let at = partition(&*log);
    let known = Node::start(&log, "known").await;
    known.assign([at]);
    known.serves(at).await;
    let mute = Node::start(&BuggyLog::around(memory, LogBug::OwnersAreNotWritten), "mute").await;
    let other = ContextPartition { partition: Partition((at.partition.0 + 1) % log.partitions(BANK)), ..at };
    mute.assign([other]);
    mute.serves(other).await;
    until(|| mute.handle().owner(at).is_some_and(|owner| owner.address == "known:1")).await;
    assert!(mute.handle().log_trouble().is_none_or(|trouble| trouble.contains("injected fault")));
}

async fn an_owner_that_is_behind_what_a_reader_was_told_proves_that_it_is_the_owner_still() {
    let (_, log) = log();
    let at = partition(&*log);
    let (one, two) = (Node::start(&log, "one").await, Node::start(&log, "two").await);
    one.assign([at]);
    one.serves(at).await;
    let opened = send(&one.handle(), "o", 1, "open", json!({"name": "a"})).await.unwrap();
    // Nobody tells the first that another has claimed the partition.
    two.assign([at]);
    two.serves(at).await;
    let told = send(&two.handle(), "d", 1, "deposit", json!({"amount": 1})).await.unwrap();
    let seen = |engine: EngineHandle| async move {
        engine.aggregate(address(scope(1), 1), deadline()).await.map(|view| view.unwrap().version.0)
    };
    // Within a second of its last proof it answers from memory, and whoever saw no later state is served well. A machine
    // that is slow may be later.
    let from_memory = seen(one.handle().covering(opened.position.clone())).await;
    assert!(matches!(from_memory, Ok(1) | Err(ReadFailure::NotOwner(_))), "{from_memory:?}");
    let behind = one.handle().covering(told.position.clone());
    assert_eq!(seen(behind.clone()).await, Err(ReadFailure::NotOwner(at)));
    assert_eq!(behind.operation(scope(1).tenant, told.operation_id, deadline()).await, Err(ReadFailure::NotOwner(at)));
    assert_eq!(seen(two.handle().covering(told.position)).await, Ok(2));
}
