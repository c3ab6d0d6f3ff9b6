//! One broker for all tests that leave it as it is: each has topics of its own.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use annals_dev::kafka::Cluster;
use annals_engine::log::checked::CheckedReader;
use annals_engine::log::contract::records::SCHEMA;
use annals_engine::log::kafka::{KafkaLog, KafkaOptions};
use annals_engine::log::verify::verify;
use annals_model::position::Checkpoint;
use annals_tests::{LOG_CONTEXT, LOG_PARTITION};

/// The cluster of the tests that run now; gone with the last of them.
static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// A cluster of one broker, started unless another test has it already.
pub(crate) fn shared() -> Arc<Cluster> {
    // A test that failed to start one leaves nothing behind.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Cluster::start(1).unwrap());
        *shared = Arc::downgrade(&started);
        started
    })
}

/// A log with this prefix on it.
pub(crate) fn options(cluster: &Cluster, prefix: &str) -> KafkaOptions {
    KafkaOptions { prefix: prefix.into(), ..KafkaOptions::new(cluster.addresses()) }
}

/// Ordinals that readers see, after everything was verified.
pub(crate) async fn visible(log: &KafkaLog) -> Vec<u64> {
    let report = verify(log, &[LOG_CONTEXT], &|schema| schema == SCHEMA, &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let mut reader = CheckedReader::open(log, LOG_PARTITION, Checkpoint::default()).await.unwrap();
    let mut ordinals = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        ordinals.extend(batch.records.iter().map(|record| record.envelope.ordinal.0));
    }
    assert_eq!(reader.voided(), 0, "a zombie's record was written");
    ordinals
}
