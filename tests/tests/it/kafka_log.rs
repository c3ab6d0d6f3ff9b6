//! The log on a real Apache Kafka.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_dev::kafka::Cluster;
use annals_engine::log::checked::CheckedReader;
use annals_engine::log::contract::records::TestRecords;
use annals_engine::log::contract::{CONTEXTS, log_contract};
use annals_engine::log::kafka::{KafkaLog, KafkaOptions, OpenError};
use annals_engine::log::{AppendOutcome, EventLog, LogWriter, Owner};
use annals_engine::owners::system_now;
use annals_model::position::Checkpoint;
use annals_model::time::Timestamp;
use annals_tests::{LOG_CONTEXT, LOG_PARTITION};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::kafka_cluster::{options, shared, visible};
use crate::log_process::LogProcess;

/// Longest that a broker that came back may leave its clients waiting.
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kafka_log_keeps_the_contract() {
    let cluster = shared();
    let number = Cell::new(0);
    log_contract(async || {
        number.set(number.get() + 1);
        let options = options(&cluster, &format!("contract-{}", number.get()));
        KafkaLog::connect(options, &CONTEXTS).await.unwrap() as Arc<dyn EventLog>
    })
    .await;
}

#[tokio::test]
async fn a_topic_that_would_lose_history_is_refused() {
    let cluster = shared();
    let endless = [("retention.ms", "-1"), ("max.message.bytes", "8388608")];
    let refused = [
        ("finite", &[("max.message.bytes", "8388608")][..], "retention.ms"),
        (
            "sized",
            &[("retention.ms", "-1"), ("retention.bytes", "1000000000"), ("max.message.bytes", "8388608")],
            "retention.bytes",
        ),
        (
            "compacted",
            &[("cleanup.policy", "compact"), ("retention.ms", "-1"), ("max.message.bytes", "8388608")],
            "cleanup.policy",
        ),
        ("both", &[("cleanup.policy", "compact,delete"), ("retention.ms", "-1")], "cleanup.policy"),
        ("small", &[("retention.ms", "-1")], "max.message.bytes"),
    ];
    for (prefix, settings, expected) in refused {
        cluster.create_topic(&format!("{prefix}.{}.events", CONTEXTS[0].name), 4, settings).await.unwrap();
        match KafkaLog::connect(options(&cluster, prefix), &CONTEXTS[..1]).await {
            Err(OpenError::TopicRefused { setting, .. }) => assert_eq!(setting, expected, "{prefix}"),
            other => panic!("{prefix} ended as {other:?}"),
        }
    }
    // One that was made by hand as it must be is taken as it is, with its number of partitions, for ever.
    cluster.create_topic(&format!("fine.{}.events", CONTEXTS[0].name), 3, &endless).await.unwrap();
    let log = KafkaLog::connect(options(&cluster, "fine"), &CONTEXTS[..1]).await.unwrap();
    assert_eq!(log.partitions(CONTEXTS[0]), 3);
    let again = KafkaLog::connect(options(&cluster, "fine"), &CONTEXTS).await.unwrap();
    assert_eq!((again.id(), again.partitions(CONTEXTS[0]), again.partitions(CONTEXTS[1])), (log.id(), 3, 4));
    let more = KafkaOptions { partitions: Some(5), ..options(&cluster, "fine") };
    let error = KafkaLog::connect(more, &CONTEXTS[..1]).await.unwrap_err();
    assert!(matches!(error, OpenError::PartitionCount { found: 3, wanted: 5, .. }), "{error}");
}

#[tokio::test]
async fn an_owner_stopped_between_two_appends_is_fenced_when_it_wakes_up() {
    let cluster = shared();
    let start = || LogProcess::start_on_kafka(&cluster.addresses(), "zombies");
    let mut zombie = start();
    assert!(zombie.ask("claim").ends_with(" 0"));
    assert_eq!(zombie.ask("append 3"), "durable 3");
    let mut total = 3;
    for round in 0..3 {
        zombie.stop();
        // What it will do first when it wakes up.
        zombie.send(["append 2", "prove", "append 2"][round]);
        let mut heir = start();
        assert!(heir.ask("claim").ends_with(&format!(" {total}")), "everything acknowledged is there");
        for _ in 0..=round {
            total += 4;
            assert_eq!(heir.ask("append 4"), format!("durable {total}"));
        }
        zombie.resume();
        assert_eq!(zombie.answer(), "fenced");
        assert_eq!(heir.ask("prove"), "owner");
        total += 1;
        assert_eq!(heir.ask("append 1"), format!("durable {total}"), "the owner goes on");
        zombie = heir;
    }
    let log = KafkaLog::connect(options(&cluster, "zombies"), &[LOG_CONTEXT]).await.unwrap();
    assert_eq!(visible(&log).await, (1..=total).collect::<Vec<_>>());
}

/// Claims until it works, and reads to the barrier.
async fn claim_again(log: &KafkaLog) -> (Box<dyn LogWriter>, TestRecords) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_claim(log).await {
            Ok(claimed) => return claimed,
            Err(error) => assert!(Instant::now() < deadline, "no claim within {PATIENCE:?}: {error}"),
        }
    }
}

async fn try_claim(log: &KafkaLog) -> anyhow::Result<(Box<dyn LogWriter>, TestRecords)> {
    let claimed = log.claim(LOG_PARTITION, Owner { id: "here".into(), address: String::new() }).await?;
    let mut reader = CheckedReader::open(log, LOG_PARTITION, Checkpoint::default()).await?;
    while reader.checkpoint().offset < claimed.barrier {
        reader.next().await?;
    }
    let epoch = claimed.writer.claim_epoch();
    let mut records = TestRecords::new(LOG_PARTITION, log.partitions(LOG_CONTEXT)).claimed(epoch);
    let Checkpoint { ordinal, emitted_at, .. } = reader.checkpoint();
    records.resume(ordinal, emitted_at);
    Ok((claimed.writer, records))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_during_appends_loses_nothing_that_was_acknowledged() {
    let interrupted = append_while_brokers_are_killed(Cluster::start(1).unwrap(), &[0, 0]).await;
    assert!(interrupted > 0, "no append met a broker that was gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_brokers_each_may_be_killed_during_appends() {
    append_while_brokers_are_killed(Cluster::start(3).unwrap(), &[0, 1, 2]).await;
}

/// Kills and restarts these brokers, one after the other, under appends. How many of those had an unknown outcome.
async fn append_while_brokers_are_killed(mut cluster: Cluster, victims: &'static [usize]) -> usize {
    let log = KafkaLog::connect(options(&cluster, "killed"), &[LOG_CONTEXT]).await.unwrap();
    let (mut writer, mut records) = claim_again(&log).await;
    let (told, mut killed) = tokio::sync::watch::channel(false);
    let killing = tokio::task::spawn_blocking(move || {
        for victim in victims {
            cluster.kill(*victim).unwrap();
            cluster.restart(*victim).unwrap();
        }
        told.send_replace(true);
        cluster
    });
    let mut acknowledged = 0;
    let mut interrupted = 0;
    // Until the broker is back for the last time, and some more.
    let mut more = 20;
    while more > 0 {
        more -= usize::from(*killed.borrow_and_update());
        let mut ahead = records.clone();
        match writer.append(ahead.batch(&[3, 1])).await {
            AppendOutcome::Durable { writer: again, .. } => {
                acknowledged = ahead.ordinal.0;
                (writer, records) = (again, ahead);
            }
            AppendOutcome::Unknown { .. } => {
                interrupted += 1;
                (writer, records) = claim_again(&log).await;
                let found = records.ordinal.0;
                assert!(
                    found == acknowledged || found == acknowledged + 4,
                    "{acknowledged} acknowledged, {found} found: not all or nothing of an append"
                );
                acknowledged = found;
            }
            other => panic!("append ended as {other:?}, although nobody else claims"),
        }
    }
    assert_eq!(visible(&log).await, (1..=acknowledged).collect::<Vec<_>>());
    drop(killing.await.unwrap());
    interrupted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_a_new_log_together_start_the_same_one() {
    let cluster = shared();
    let connects = (0..4).map(|_| KafkaLog::connect(options(&cluster, "together"), &CONTEXTS));
    let logs = futures_util::future::join_all(connects).await;
    let ids: BTreeSet<_> = logs.into_iter().map(|log| log.unwrap().id().to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

/// The times of a partition's records on the brokers, milliseconds, by offset, up to the one at `last`.
fn times_on_the_brokers(cluster: &Cluster, topic: &str, last: u64) -> BTreeMap<u64, i64> {
    let settings = [("group.id", "times"), ("isolation.level", "read_committed"), ("enable.auto.commit", "false")];
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.addresses())
        .extend(settings.map(|(name, value)| (name.into(), value.into())));
    let consumer: BaseConsumer = config.create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, i32::from(LOG_PARTITION.partition.0), Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let mut times = BTreeMap::new();
    while times.last_key_value().is_none_or(|(offset, _)| *offset < last) {
        let record = consumer.poll(PATIENCE).expect("the record is there").unwrap();
        times.insert(u64::try_from(record.offset()).unwrap(), record.timestamp().to_millis().unwrap());
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_times_are_ahead_of_the_brokers_clock_still_takes_appends() {
    const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
    let cluster = shared();
    let topic = format!("ahead.{}.events", LOG_CONTEXT.name);
    // What brokers do unless they are told otherwise: they refuse records that are an hour ahead.
    let hour =
        [("retention.ms", "-1"), ("max.message.bytes", "8388608"), ("message.timestamp.after.max.ms", "3600000")];
    cluster.create_topic(&topic, 4, &hour).await.unwrap();
    let log = KafkaLog::connect(options(&cluster, "ahead"), &[LOG_CONTEXT]).await.unwrap();
    let began = system_now();
    let (yesterday, next_year) = (Timestamp(began.0 - DAY_MICROS), Timestamp(began.0 + 365 * DAY_MICROS));
    let (mut writer, mut records) = claim_again(&log).await;
    let mut placed = Vec::new();
    for emitted_at in [yesterday, next_year] {
        records.resume(records.ordinal, emitted_at);
        match writer.append(records.batch(&[1, 2])).await {
            AppendOutcome::Durable { writer: again, positions } => {
                writer = again;
                placed.push(positions);
            }
            other => panic!("it ended as {other:?}"),
        }
    }
    let ended = system_now();
    let last = placed[1].last().unwrap().0;
    let times = tokio::task::block_in_place(|| times_on_the_brokers(&cluster, &topic, last));
    for (behind, at) in (1..).zip(&placed[0]) {
        assert_eq!(times[&at.0], (yesterday.0 + behind) / 1_000, "its event's own");
    }
    for at in &placed[1] {
        let time = times[&at.0];
        assert!((began.0 / 1_000..=ended.0 / 1_000).contains(&time), "{time} is not when it was appended");
    }
    let mut reader = CheckedReader::open(&*log, LOG_PARTITION, Checkpoint::default()).await.unwrap();
    while reader.next().await.unwrap().is_some() {}
    assert_eq!(reader.checkpoint().emitted_at, Timestamp(next_year.0 + 3), "an event's time is its owner's");
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_said_to_be_unreachable() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = KafkaLog::connect(KafkaOptions::new(nobody.to_string()), &CONTEXTS).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn settings_that_the_protocol_depends_on_are_not_passed_through() {
    for name in ["acks", "isolation.level", "transactional.id", "bootstrap.servers"] {
        let mut options = KafkaOptions::new("127.0.0.1:1");
        options.client.insert(name.into(), "1".into());
        let error = KafkaLog::connect(options, &CONTEXTS).await.unwrap_err();
        assert!(matches!(&error, OpenError::FixedSetting(refused) if refused == name), "{error}");
    }
}
