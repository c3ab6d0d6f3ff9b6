//! Which node should try to own which partition, as the brokers share them out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_engine::log::EventLog;
use annals_engine::log::contract::CONTEXTS;
use annals_engine::log::kafka::KafkaLog;
use annals_engine::log::kafka::membership::Membership;
use annals_engine::owners::Assigned;
use annals_model::ids::Partition;
use annals_model::position::ContextPartition;
use annals_tests::LOG_CONTEXT;
use tokio::sync::{mpsc, watch};

use crate::kafka_cluster::{options, shared};
use crate::log_process::LogProcess;

/// Longest that a share may take to settle.
const PATIENCE: Duration = Duration::from_secs(30);

fn all(log: &KafkaLog, contexts: &[annals_model::ids::ContextId]) -> BTreeSet<ContextPartition> {
    let numbered = contexts.iter().flat_map(|context| (0..log.partitions(*context)).map(|number| (*context, number)));
    numbered.map(|(context, number)| ContextPartition { context, partition: Partition(number) }).collect()
}

/// True if every partition is somebody's, nobody's is another's, and nobody has nothing.
fn settled(shares: &[BTreeSet<ContextPartition>], all: &BTreeSet<ContextPartition>) -> bool {
    let given: usize = shares.iter().map(BTreeSet::len).sum();
    let together: BTreeSet<_> = shares.iter().flatten().copied().collect();
    assert_eq!(given, together.len(), "a partition was given to two members: {shares:?}");
    together == *all && shares.iter().all(|share| !share.is_empty())
}

fn now(members: &[&Membership]) -> Vec<BTreeSet<ContextPartition>> {
    members.iter().map(|member| (**member.assigned().borrow()).clone()).collect()
}

/// Waits until the members have all partitions between them; how long that took.
async fn settle(members: &[&Membership], all: &BTreeSet<ContextPartition>) -> Duration {
    let started = Instant::now();
    let mut changes: Vec<watch::Receiver<Assigned>> = members.iter().map(|member| member.assigned()).collect();
    while !settled(&now(members), all) {
        assert!(started.elapsed() < PATIENCE, "not settled: {:?}", now(members));
        let changed = changes.iter_mut().map(|change| Box::pin(change.changed()));
        let any = futures_util::future::select_all(changed);
        // One that changed between the look and here wakes it as well.
        let _ = tokio::time::timeout(PATIENCE, any).await.unwrap();
    }
    started.elapsed()
}

fn at_once(log: &KafkaLog) -> Membership {
    Membership::join(log, |_| Box::pin(async {})).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_all_partitions_and_no_two_have_one() {
    let cluster = shared();
    let log = KafkaLog::connect(options(&cluster, "members"), &CONTEXTS).await.unwrap();
    let all = all(&log, &CONTEXTS);
    assert_eq!(all.len(), 8);
    let first = at_once(&log);
    settle(&[&first], &all).await;
    let second = at_once(&log);
    settle(&[&first, &second], &all).await;
    let third = at_once(&log);
    settle(&[&first, &second, &third], &all).await;
    assert!(now(&[&first, &second, &third]).iter().all(|share| (2..=3).contains(&share.len())), "shares are even");
    let started = Instant::now();
    second.leave().await;
    settle(&[&first, &third], &all).await;
    assert!(started.elapsed() < Duration::from_millis(1_500), "a leave moved partitions in {:?}", started.elapsed());
    third.leave().await;
    settle(&[&first], &all).await;
    let last = first.assigned();
    first.leave().await;
    assert!(last.borrow().is_empty(), "who left has nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_given_to_another_before_it_was_released() {
    let cluster = shared();
    let log = KafkaLog::connect(options(&cluster, "released"), &CONTEXTS).await.unwrap();
    let all = all(&log, &CONTEXTS);
    let (asked, mut asks) = mpsc::unbounded_channel();
    let (may, go_on) = watch::channel(false);
    let first = Membership::join(&log, move |partitions| {
        let (asked, mut go_on) = (asked.clone(), go_on.clone());
        Box::pin(async move {
            asked.send(partitions).unwrap();
            let _ = go_on.wait_for(|go_on| *go_on).await;
        })
    })
    .unwrap();
    settle(&[&first], &all).await;
    let second = at_once(&log);
    let wanted: BTreeSet<_> = asks.recv().await.unwrap().into_iter().collect();
    assert_eq!(wanted.len(), 4);
    assert!(first.assigned().borrow().is_disjoint(&wanted), "it is published before it is asked for");
    assert!(second.assigned().borrow().is_empty(), "nothing was released yet");
    may.send_replace(true);
    settle(&[&first, &second], &all).await;
    assert_eq!(*second.assigned().borrow(), Arc::new(wanted));
    second.leave().await;
    settle(&[&first], &all).await;
    // One that never releases holds nobody up for longer than it may.
    may.send_replace(false);
    let started = Instant::now();
    let third = at_once(&log);
    settle(&[&first, &third], &all).await;
    assert!(started.elapsed() < Duration::from_secs(6), "a hanging release held for {:?}", started.elapsed());
    let started = Instant::now();
    first.leave().await;
    assert!(started.elapsed() < Duration::from_millis(3_200), "a leave took {:?}", started.elapsed());
    settle(&[&third], &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partitions_of_a_killed_and_of_a_stopped_member_move() {
    let cluster = shared();
    let log = KafkaLog::connect(options(&cluster, "missed"), &[LOG_CONTEXT]).await.unwrap();
    let all = all(&log, &[LOG_CONTEXT]);
    let member = at_once(&log);
    settle(&[&member], &all).await;
    let mut victim = LogProcess::start_on_kafka(&cluster.addresses(), "missed");
    victim.ask("join");
    until(|| member.assigned().borrow().len() == 2).await;
    until(|| victim.ask("assigned") == "assigned 2").await;
    let started = Instant::now();
    victim.kill();
    settle(&[&member], &all).await;
    assert!(started.elapsed() < Duration::from_secs(8), "a killed member was missed after {:?}", started.elapsed());

    let mut paused = LogProcess::start_on_kafka(&cluster.addresses(), "missed");
    paused.ask("join");
    until(|| paused.ask("assigned") == "assigned 2").await;
    paused.stop();
    settle(&[&member], &all).await;
    paused.resume();
    // It learns that it lost everything before it is given something again.
    let lost_and_regained = |changes: &str| changes.contains(" 0 ") && changes.ends_with(" 2");
    until(|| lost_and_regained(&paused.ask("changes"))).await;
    until(|| member.assigned().borrow().len() == 2).await;
    assert_eq!(paused.ask("leave"), "left");
    settle(&[&member], &all).await;
    member.leave().await;
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
