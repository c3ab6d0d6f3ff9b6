//! The log on a real Apache Kafka.

use std::cell::Cell;
use std::sync::Arc;

use annals_engine::log::EventLog;
use annals_engine::log::contract::{CONTEXTS, log_contract};
use annals_engine::log::kafka::{KafkaLog, KafkaOptions, OpenError};
use annals_tests::kafka::Cluster;

fn options(cluster: &Cluster, prefix: &str) -> KafkaOptions {
    KafkaOptions { prefix: prefix.into(), ..KafkaOptions::new(cluster.addresses()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kafka_log_keeps_the_contract() {
    let cluster = Cluster::start(1).unwrap();
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
    let cluster = Cluster::start(1).unwrap();
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
