//! What librdkafka says by itself. Nothing of it is an error of ours: what matters comes back from the calls.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// Puts librdkafka's lines where ours are, as details, and keeps the last one: a call that failed says only that it took
/// too long, and this says why.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    last: Mutex<Option<String>>,
}

impl Quiet {
    /// A failed call's error with the reason that librdkafka gave last.
    pub(super) fn explain(&self, error: &KafkaError) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map_or_else(|| error.to_string(), |reason| format!("{error}: {reason}"))
    }
}

/// What librdkafka calls the line that says why a connection was lost, or not made.
pub(super) const CONNECTION_LOST: &str = "FAIL";

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if facility == CONNECTION_LOST {
            // The name of librdkafka's thread stands before it.
            let reason = text.split_once("]: ").map_or(text, |(_, reason)| reason);
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Quiet {}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    tracing::debug!(?level, facility, text, "kafka client");
}
