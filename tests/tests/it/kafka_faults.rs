//! What an operator is told when something about the brokers, the topics or what lies in them is wrong, and that work
//! goes on when it is put right.

use std::time::{Duration, Instant};

use annals_dev::kafka::{Cluster, Resource, Setup, USER};
use annals_engine::log::checked::CheckedReader;
use annals_engine::log::contract::records::{SCHEMA, TestRecords};
use annals_engine::log::kafka::{KafkaLog, KafkaOptions, OpenError};
use annals_engine::log::verify::verify;
use annals_engine::log::{AppendBatch, AppendOutcome, ClaimError, EventLog, LogWriter, Owner, ReadError};
use annals_model::position::{Checkpoint, RecordOffset};
use annals_tests::{LOG_CONTEXT, LOG_PARTITION};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::kafka_cluster::{options, shared, visible};

const EVENTS: [(&str, &str); 3] =
    [("retention.ms", "-1"), ("max.message.bytes", "8388608"), ("min.insync.replicas", "1")];

fn topic(prefix: &str) -> String {
    format!("{prefix}.{}.events", LOG_CONTEXT.name)
}

async fn connect(cluster: &Cluster, prefix: &str) -> std::sync::Arc<KafkaLog> {
    KafkaLog::connect(options(cluster, prefix), &[LOG_CONTEXT]).await.unwrap()
}

async fn claim(log: &KafkaLog) -> Result<(Box<dyn LogWriter>, TestRecords), ClaimError> {
    let claimed = log.claim(LOG_PARTITION, Owner { id: "here".into(), address: String::new() }).await?;
    let mut records =
        TestRecords::new(LOG_PARTITION, log.partitions(LOG_CONTEXT)).claimed(claimed.writer.claim_epoch());
    records.ordinal = log.last_ordinal(LOG_PARTITION).await?;
    Ok((claimed.writer, records))
}

fn durable(outcome: AppendOutcome) -> Box<dyn LogWriter> {
    match outcome {
        AppendOutcome::Durable { writer, .. } => writer,
        other => panic!("append ended as {other:?}"),
    }
}

/// Writes what no owner would, as some other program could.
async fn intrude(cluster: &Cluster, prefix: &str, value: Option<&[u8]>) -> RecordOffset {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", cluster.addresses()).create().unwrap();
    let topic = topic(prefix);
    let mut record = FutureRecord::<[u8], [u8]>::to(&topic).partition(i32::from(LOG_PARTITION.partition.0)).key(b"key");
    record.payload = value;
    let delivered = producer.send(record, Duration::from_secs(10)).await.unwrap();
    RecordOffset(u64::try_from(delivered.offset).unwrap())
}

/// Reads to the end; how many records, or where it breaks.
async fn read(log: &KafkaLog) -> Result<usize, ReadError> {
    let end = log.end(LOG_PARTITION).await?;
    let mut reader = CheckedReader::open(log, LOG_PARTITION, Checkpoint::default()).await?;
    let mut count = 0;
    while reader.checkpoint().offset < end {
        count += reader.next().await?.map_or(0, |batch| batch.records.len());
    }
    Ok(count)
}

fn bytes(batch: &AppendBatch) -> Vec<u8> {
    batch.iter().next().unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_program_wrote_stops_readers_there_and_is_named() {
    let cluster = shared();
    for (prefix, what) in
        [("garbage", 0), ("foreign", 1), ("tombstone", 2), ("ordinal", 3), ("newer", 4), ("zombie", 5)]
    {
        let log = connect(&cluster, prefix).await;
        let (writer, mut records) = claim(&log).await.unwrap();
        let writer = durable(writer.append(records.batch(&[2, 1])).await);
        let mut wrong = records.clone();
        let at = match what {
            0 => intrude(&cluster, prefix, Some(b"{\"not\": \"avro\"}")).await,
            // Framed like ours, with an id and nothing that fits.
            1 => intrude(&cluster, prefix, Some(&[0, 0, 0, 0, 9, 1, 2, 3])).await,
            2 => intrude(&cluster, prefix, None).await,
            3 => {
                wrong.ordinal.0 += 5;
                intrude(&cluster, prefix, Some(&bytes(&wrong.batch(&[1])))).await
            }
            4 => {
                wrong.claim_epoch.0 += 1_000;
                intrude(&cluster, prefix, Some(&bytes(&wrong.batch(&[1])))).await
            }
            _ => {
                wrong.claim_epoch.0 -= 1;
                intrude(&cluster, prefix, Some(&bytes(&wrong.batch(&[1])))).await
            }
        };
        drop(durable(writer.append(records.batch(&[1])).await));
        let found = read(&log).await;
        let named = match &found {
            Err(ReadError::Corrupt { offset, .. } | ReadError::NotContiguous { offset, .. }) => Some(*offset),
            _ => None,
        };
        // A record of an older claim is what a fence that failed would leave: dropped, and counted.
        if what == 5 {
            assert_eq!(found, Ok(4), "{prefix}");
        } else {
            assert_eq!(named, Some(at), "{prefix} ended as {found:?}");
            assert!(found.unwrap_err().to_string().contains("annals log verify"), "{prefix}: the remedy");
            let report = verify(&*log, &[LOG_CONTEXT], &|schema| schema == SCHEMA, &mut |_| {}).await.unwrap();
            assert!(!report.is_sound(), "{prefix}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_void_record_before_a_claim_is_not_what_the_next_append_must_follow() {
    let cluster = shared();
    let log = connect(&cluster, "void").await;
    let (writer, mut records) = claim(&log).await.unwrap();
    drop(durable(writer.append(records.batch(&[2])).await));
    // What a fence that failed would leave, far behind the claim that makes it void.
    let mut zombie = records.clone();
    let (writer, _) = claim(&log).await.unwrap();
    records = records.claimed(writer.claim_epoch());
    drop(durable(writer.append(records.batch(&[1; 300])).await));
    intrude(&cluster, "void", Some(&bytes(&zombie.batch(&[1])))).await;
    let claimed = log.claim(LOG_PARTITION, Owner { id: "next".into(), address: String::new() }).await.unwrap();
    records = records.claimed(claimed.writer.claim_epoch());
    let mut wrong = records.clone();
    wrong.ordinal.0 += 1;
    let refused = claimed.writer.append(wrong.batch(&[1])).await;
    let AppendOutcome::Aborted { writer, .. } = refused else { panic!("a hole in the ordinals ended as {refused:?}") };
    drop(durable(writer.append(records.batch(&[2])).await));
    assert_eq!(read(&log).await, Ok(304));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_an_unknown_schema_is_found_by_its_place() {
    let cluster = shared();
    let log = connect(&cluster, "schema").await;
    let (writer, mut records) = claim(&log).await.unwrap();
    let mut batch = AppendBatch::default();
    let known = records.batch(&[1]);
    // The same record under an id that nobody released.
    batch.push(|out| {
        out.extend_from_slice(&[0, 0x12, 0x34, 0x56, 0x78]);
        out.extend_from_slice(&bytes(&known)[5..]);
    });
    drop(durable(writer.append(batch).await));
    assert_eq!(read(&log).await, Ok(1), "an envelope is read without its schema");
    let report = verify(&*log, &[LOG_CONTEXT], &|schema| schema == SCHEMA, &mut |_| {}).await.unwrap();
    assert!(format!("{:?}", report.findings).contains(&0x1234_5678.to_string()), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_begins_to_eat_history_takes_no_appends_until_it_is_put_right() {
    let cluster = shared();
    let log = connect(&cluster, "retention").await;
    let (writer, mut records) = claim(&log).await.unwrap();
    let writer = durable(writer.append(records.batch(&[1])).await);
    cluster
        .change_topic(&topic("retention"), &[("retention.ms", "60000"), ("max.message.bytes", "8388608")])
        .await
        .unwrap();
    let refused = log.check_topics().await.unwrap_err();
    assert!(matches!(&refused, OpenError::TopicRefused { setting, .. } if setting == "retention.ms"), "{refused}");
    let trouble = log.trouble().unwrap();
    assert!(trouble.contains("retention.ms") && trouble.contains("-1"), "{trouble}");
    let before = records.clone();
    let writer = match writer.append(records.batch(&[1])).await {
        AppendOutcome::Aborted { writer, cause } => {
            assert_eq!(cause, trouble);
            writer
        }
        other => panic!("ended as {other:?}"),
    };
    assert!(matches!(claim(&log).await, Err(ClaimError::Unavailable(cause)) if cause == trouble));
    assert!(KafkaLog::open_existing(options(&cluster, "retention"), &[LOG_CONTEXT]).await.is_err());
    cluster.change_topic(&topic("retention"), &EVENTS).await.unwrap();
    log.check_topics().await.unwrap();
    assert_eq!(log.trouble(), None);
    let mut records = before;
    drop(durable(writer.append(records.batch(&[1])).await));
    assert_eq!(visible(&log).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_partitions_are_refused_unless_the_recorded_number_is_asked_for() {
    let cluster = shared();
    let log = connect(&cluster, "grown").await;
    cluster.add_partitions(&topic("grown"), 6).await.unwrap();
    let refused = log.check_topics().await.unwrap_err();
    assert!(matches!(refused, OpenError::PartitionsAdded { found: 6, recorded: 4, .. }), "{refused}");
    assert!(log.trouble().unwrap().contains("partitions = 4"), "the remedy");
    let refused = KafkaLog::connect(options(&cluster, "grown"), &[LOG_CONTEXT]).await.unwrap_err();
    assert!(matches!(refused, OpenError::PartitionsAdded { .. }), "{refused}");
    for (asked, accepted) in [(4, true), (6, false)] {
        let asked = KafkaOptions { partitions: Some(asked), ..options(&cluster, "grown") };
        let opened = KafkaLog::connect(asked, &[LOG_CONTEXT]).await;
        assert_eq!(opened.is_ok(), accepted);
        assert!(opened.is_err() || opened.unwrap().partitions(LOG_CONTEXT) == 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_deleted_is_missed_and_never_made_anew() {
    let cluster = shared();
    let log = connect(&cluster, "deleted").await;
    let (writer, mut records) = claim(&log).await.unwrap();
    drop(durable(writer.append(records.batch(&[1])).await));
    cluster.delete_topic(&topic("deleted")).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while log.check_topics().await.is_ok() {
        assert!(Instant::now() < deadline, "not noticed");
    }
    assert!(log.trouble().unwrap().contains("restore it"), "{:?}", log.trouble());
    assert!(matches!(claim(&log).await, Err(ClaimError::Unavailable(_))));
    for opened in [
        KafkaLog::connect(options(&cluster, "deleted"), &[LOG_CONTEXT]).await,
        KafkaLog::open_existing(options(&cluster, "deleted"), &[LOG_CONTEXT]).await,
    ] {
        assert!(matches!(opened, Err(OpenError::TopicLost(_))), "{opened:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_without_the_id_of_their_log_are_never_given_another() {
    let cluster = shared();
    let log = connect(&cluster, "nameless").await;
    let (writer, mut records) = claim(&log).await.unwrap();
    drop(durable(writer.append(records.batch(&[1])).await));
    drop(log);
    cluster.delete_topic("nameless.meta").await.unwrap();
    let made = || cluster.topics().unwrap().iter().filter(|topic| *topic == "nameless.meta").count();
    let deadline = Instant::now() + Duration::from_secs(30);
    while made() > 0 {
        assert!(Instant::now() < deadline, "still there");
    }
    let refused = async || {
        for opened in [
            KafkaLog::connect(options(&cluster, "nameless"), &[LOG_CONTEXT]).await,
            KafkaLog::open_existing(options(&cluster, "nameless"), &[LOG_CONTEXT]).await,
        ] {
            assert!(matches!(&opened, Err(OpenError::TopicLost(lost)) if lost == "nameless.meta"), "{opened:?}");
        }
    };
    refused().await;
    assert_eq!(made(), 0, "and nothing was put in its place");
    // Made by hand, and empty: as good as gone.
    let compacted = [("cleanup.policy", "compact"), ("max.message.bytes", "8388608")];
    cluster.create_topic("nameless.meta", 1, &compacted).await.unwrap();
    refused().await;
}

#[tokio::test]
async fn a_log_that_is_only_looked_at_is_never_made() {
    let cluster = shared();
    let opened = KafkaLog::open_existing(options(&cluster, "nothing"), &[LOG_CONTEXT]).await;
    assert!(matches!(&opened, Err(OpenError::NotThere(prefix)) if prefix == "nothing"), "{opened:?}");
    let made = connect(&cluster, "something").await;
    let opened = KafkaLog::open_existing(options(&cluster, "something"), &[LOG_CONTEXT]).await.unwrap();
    assert_eq!((opened.id(), opened.partitions(LOG_CONTEXT)), (made.id(), 4));
    let both = [LOG_CONTEXT, annals_engine::log::contract::CONTEXTS[0]];
    let opened = KafkaLog::open_existing(options(&cluster, "something"), &both).await;
    assert!(matches!(opened, Err(OpenError::ContextNotThere(_))), "{opened:?}");
    let opened = KafkaLog::open_existing(options(&cluster, "nothing"), &[LOG_CONTEXT]).await;
    assert!(matches!(opened, Err(OpenError::NotThere(_))), "the first look made nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_is_told_what_it_lacks_and_gets_in_when_it_has_them() {
    let cluster = Cluster::start_as(Setup { secured: true, ..Setup::default() }).unwrap();
    let secured = |password: &str| {
        let mut options = KafkaOptions { prefix: "acl".into(), ..KafkaOptions::new(cluster.secured_address()) };
        for (name, value) in [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanisms", "PLAIN"),
            ("sasl.username", USER),
            ("sasl.password", password),
        ] {
            options.client.insert(name.into(), value.into());
        }
        options
    };
    let refused = KafkaLog::connect(secured("wrong"), &[LOG_CONTEXT]).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unreachable(_)), "{refused}");
    assert!(refused.to_string().contains("uthentication"), "{refused}");
    let refused = KafkaLog::connect(secured(USER), &[LOG_CONTEXT]).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unauthorized(_)), "{refused}");
    cluster.allow(Resource::Topics, "acl.").unwrap();
    // Making a log needs the ids of transactions as well.
    let refused = KafkaLog::connect(secured(USER), &[LOG_CONTEXT]).await.unwrap_err();
    assert!(refused.to_string().contains("uthoriz"), "{refused}");
    cluster.allow(Resource::TransactionalIds, "acl.").unwrap();
    let log = KafkaLog::connect(secured(USER), &[LOG_CONTEXT]).await.unwrap();
    let (writer, mut records) = claim(&log).await.unwrap();
    drop(durable(writer.append(records.batch(&[3])).await));
    assert_eq!(visible(&log).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_at_the_start_is_said_to_be_and_is_found_when_it_is_up() {
    let mut cluster = Cluster::start(1).unwrap();
    let id = connect(&cluster, "down").await.id();
    cluster.kill(0).unwrap();
    let started = Instant::now();
    let refused = KafkaLog::connect(options(&cluster, "down"), &[LOG_CONTEXT]).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unreachable(_)), "{refused}");
    assert!(refused.to_string().contains("refused"), "the reason: {refused}");
    assert!(started.elapsed() < Duration::from_secs(10), "told after {:?}", started.elapsed());
    cluster.restart(0).unwrap();
    assert_eq!(connect(&cluster, "down").await.id(), id);
}

#[tokio::test]
async fn tls_is_refused_by_a_build_that_has_none() {
    for (name, value) in [("security.protocol", "SASL_SSL"), ("ssl.ca.location", "ca.pem")] {
        let mut options = KafkaOptions::new("127.0.0.1:1");
        options.client.insert(name.into(), value.into());
        let refused = KafkaLog::connect(options, &[LOG_CONTEXT]).await.unwrap_err();
        assert!(matches!(refused, OpenError::WithoutTls) && refused.to_string().contains("kafka-tls"), "{refused}");
    }
}
