//! How an append ends when the brokers' answers are lost or late: a writer is told no more and no less than what the log
//! will show.

use std::time::{Duration, Instant};

use annals_dev::kafka::relay::{END_TXN, Fault};
use annals_dev::kafka::{Cluster, Setup};
use annals_engine::log::EventLog;
use annals_engine::log::kafka::KafkaLog;
use annals_tests::{LOG_CONTEXT, LOG_PARTITION};

use crate::kafka_cluster::{options, visible};
use crate::log_process::LogProcess;

fn relayed() -> Cluster {
    Cluster::start_as(Setup { relayed: true, ..Setup::default() }).unwrap()
}

/// A writer in a process of its own that reaches the broker through the relay.
fn behind_relay(cluster: &Cluster, prefix: &str) -> LogProcess {
    LogProcess::start_on_kafka(&cluster.relayed_address().unwrap(), prefix)
}

fn direct(cluster: &Cluster, prefix: &str) -> LogProcess {
    LogProcess::start_on_kafka(&cluster.addresses(), prefix)
}

#[tokio::test]
async fn an_append_that_was_committed_is_never_called_fenced() {
    let cluster = relayed();
    let mut owner = behind_relay(&cluster, "committed");
    owner.ask("claim");
    assert_eq!(owner.ask("append 2"), "durable 2");
    // The commit happens, and its answer is lost. It is asked for again, and that request is late.
    let relay = cluster.relay().unwrap();
    relay.arm(&[(END_TXN, Fault::LoseAnswer), (END_TXN, Fault::Hold)]);
    owner.send("append 3");
    relay.wait_until_held().unwrap();
    let mut heir = direct(&cluster, "committed");
    assert!(heir.ask("claim").ends_with(" 5"), "the append is there");
    assert_eq!(heir.ask("append 1"), "durable 6");
    relay.let_go();
    assert_eq!(owner.answer(), "durable 5", "refused now, but committed before");
    assert_eq!(owner.ask("append 1"), "fenced", "and that was its last one");
    assert_eq!(heir.ask("prove"), "owner");
    let log = KafkaLog::connect(options(&cluster, "committed"), &[LOG_CONTEXT]).await.unwrap();
    assert_eq!(visible(&log).await, (1..=6).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_append_that_was_not_committed_before_a_newer_claim_is_fenced() {
    let cluster = relayed();
    let mut owner = behind_relay(&cluster, "late");
    owner.ask("claim");
    assert_eq!(owner.ask("append 2"), "durable 2");
    let relay = cluster.relay().unwrap();
    for (request, line) in ["append 3", "prove"].into_iter().enumerate() {
        relay.arm(&[(END_TXN, Fault::Hold)]);
        owner.send(line);
        relay.wait_until_held().unwrap();
        let mut heir = direct(&cluster, "late");
        assert!(heir.ask("claim").ends_with(" 2"), "request {request} was not committed");
        relay.let_go();
        assert_eq!(owner.answer(), "fenced");
        drop(heir);
        assert!(owner.ask("claim").ends_with(" 2"));
    }
    let log = KafkaLog::connect(options(&cluster, "late"), &[LOG_CONTEXT]).await.unwrap();
    assert_eq!(visible(&log).await, [1, 2]);
}

#[tokio::test]
async fn a_writer_stopped_longer_than_its_transaction_may_take_gets_its_partition_back() {
    let cluster = relayed();
    let mut owner = behind_relay(&cluster, "overslept");
    owner.ask("claim");
    assert_eq!(owner.ask("append 2"), "durable 2");
    let relay = cluster.relay().unwrap();
    relay.arm(&[(END_TXN, Fault::Hold)]);
    owner.send("append 3");
    relay.wait_until_held().unwrap();
    owner.stop();
    // The brokers end the transaction: a read that it held back comes through.
    let log = KafkaLog::connect(options(&cluster, "overslept"), &[LOG_CONTEXT]).await.unwrap();
    let (open, started) = (log.end(LOG_PARTITION).await.unwrap(), Instant::now());
    while log.end(LOG_PARTITION).await.unwrap() == open {
        assert!(started.elapsed() < Duration::from_secs(60), "the transaction was never ended");
    }
    relay.let_go();
    owner.resume();
    assert_eq!(owner.answer(), "unknown", "nobody else claimed");
    assert!(owner.ask("claim").ends_with(" 2"), "it was not committed");
    assert_eq!(owner.ask("append 1"), "durable 3");
    assert_eq!(visible(&log).await, [1, 2, 3]);
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_durable_or_unknown_and_never_written_twice() {
    let cluster = relayed();
    let mut owner = behind_relay(&cluster, "lost");
    owner.ask("claim");
    let mut last = 0;
    for round in 0..3 {
        cluster.relay().unwrap().arm(&[(END_TXN, Fault::LoseAnswer)]);
        last += 2;
        match &owner.ask("append 2")[..] {
            // librdkafka asked again by itself. A producer that was disturbed is not used again.
            answer if answer == format!("durable {last}") => {
                assert_eq!(owner.ask("spent"), "spent", "round {round}");
                assert_eq!(owner.ask("append 1"), "unknown", "round {round}: it must be claimed again first");
            }
            answer => assert_eq!(answer, "unknown"),
        }
        assert!(owner.ask("claim").ends_with(&format!(" {last}")));
        assert_eq!(owner.ask("spent"), "fresh");
    }
    let log = KafkaLog::connect(options(&cluster, "lost"), &[LOG_CONTEXT]).await.unwrap();
    assert_eq!(visible(&log).await, (1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_first_append_that_does_not_follow_the_partition_is_refused() {
    let cluster = crate::kafka_cluster::shared();
    let mut owner = direct(&cluster, "follows");
    owner.ask("claim");
    assert_eq!(owner.ask("append 4"), "durable 4");
    assert!(owner.ask("claim").ends_with(" 4"));
    for wrong in [0, 3, 5] {
        owner.ask(&format!("pretend {wrong}"));
        assert_eq!(owner.ask("append 1"), "aborted", "behind {wrong}");
    }
    owner.ask("pretend 4");
    assert_eq!(owner.ask("append 1"), "durable 5");
}
