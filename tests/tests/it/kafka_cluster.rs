//! One broker for all tests that leave it as it is: each has topics of its own.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use annals_dev::kafka::Cluster;
use annals_engine::log::kafka::KafkaOptions;

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
