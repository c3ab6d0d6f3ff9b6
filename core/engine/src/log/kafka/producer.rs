//! One transactional producer of one partition: its transactions, and how they end.

#[cfg(feature = "seeded-bugs")]
mod mistakes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use annals_model::position::RecordOffset;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::client::{CONNECTION_LOST, log};
use super::native;
use super::settings::SOCKET_TIMEOUT_MS;
use crate::limits;

/// One record to produce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) key: &'a [u8],
    /// Nothing is a tombstone.
    pub(super) value: Option<&'a [u8]>,
    /// Milliseconds since 1970; 0 for the time of producing.
    pub(super) timestamp_ms: i64,
}

/// Why a transaction did not end as it should. Whichever it is: the producer is of no use any more.
#[derive(Debug)]
pub(super) enum Failure {
    /// The brokers know a newer epoch of this producer: its id was registered again, or they ended its transaction
    /// because it took too long. What it sent before may have been committed all the same.
    Refused,
    /// Whether it was committed is not known; before anything was produced, it was not.
    Unknown(String),
}

/// Where its transactions go.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) topic: String,
    pub(super) partition: u16,
}

/// A producer that may have one transaction at a time.
pub(super) struct Producer {
    producer: ThreadedProducer<Watch>,
    to: Destination,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Producer({}/{})", self.to.topic, self.to.partition)
    }
}

impl Producer {
    /// Registers the id of `config`: fences every producer that had it before and ends what it left open.
    pub(super) fn connect(config: &ClientConfig, to: Destination) -> Result<Self, Failure> {
        let producer = ThreadedProducer::from_config_and_context(config, Watch::default());
        let producer = Self { producer: producer.map_err(|error| Failure::Unknown(error.to_string()))?, to };
        let patience = Duration::from_millis(limits::KAFKA_CLAIM_STEP_MS_MAX);
        producer.producer.init_transactions(patience).map_err(|error| producer.failure(&error))?;
        Ok(producer)
    }

    /// One transaction: all of it, durable and in order, or nothing. Positions as the records were given.
    pub(super) fn transact<'a>(
        &self,
        records: impl Iterator<Item = Outgoing<'a>>,
    ) -> Result<Vec<RecordOffset>, Failure> {
        self.transact_to(&self.to, records)
    }

    /// The same to another topic: the brokers refuse a fenced producer's transaction wherever it goes.
    pub(super) fn transact_to<'a>(
        &self,
        to: &Destination,
        records: impl Iterator<Item = Outgoing<'a>>,
    ) -> Result<Vec<RecordOffset>, Failure> {
        let watch = &**self.producer.client().context();
        let _in_flight = watch.begin();
        let count = self.produce_all(to, records)?;
        #[cfg(feature = "seeded-bugs")]
        self.produced();
        self.commit()?;
        self.positions(count)
    }

    /// Begins a transaction and hands librdkafka all of it; how many records it has.
    fn produce_all<'a>(&self, to: &Destination, records: impl Iterator<Item = Outgoing<'a>>) -> Result<usize, Failure> {
        self.producer.begin_transaction().map_err(|error| self.failure(&error))?;
        let mut count = 0;
        for record in records {
            self.produce(to, record)?;
            count += 1;
        }
        Ok(count)
    }

    /// Commits the transaction that is open.
    pub(super) fn commit(&self) -> Result<(), Failure> {
        let committed = native::commit(&self.producer);
        #[cfg(feature = "seeded-bugs")]
        let committed = mistakes::heard(committed)?;
        committed.map_err(|(code, text)| self.classify(code, text))
    }

    /// Where the transaction's records lie.
    fn positions(&self, count: usize) -> Result<Vec<RecordOffset>, Failure> {
        let delivered = self.producer.client().context().delivered();
        if delivered.offsets.len() != count || !delivered.offsets.is_sorted_by(|a, b| a < b) {
            let found = delivered.offsets.len();
            return Err(Failure::Unknown(format!("a commit of {count} records with {found} positions")));
        }
        Ok(delivered.offsets)
    }

    /// Why this producer must not be used again although its last transaction was committed.
    ///
    /// librdkafka speaks the transaction protocol in which a delayed request to end a transaction can hit a later one
    /// of the same producer: after a disconnect or a request that may have been repeated, a new epoch must come first.
    pub(super) fn spent(&self, took: Duration) -> Option<String> {
        if took > Duration::from_millis(SOCKET_TIMEOUT_MS / 2) {
            return Some(format!("a commit took {} ms", took.as_millis()));
        }
        let disturbed = self.producer.client().context().disturbed.load(Ordering::Acquire);
        disturbed.then(|| "a connection was lost during a commit".to_owned())
    }

    fn produce(&self, to: &Destination, record: Outgoing<'_>) -> Result<(), Failure> {
        let mut base: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&to.topic).partition(i32::from(to.partition)).timestamp(record.timestamp_ms);
        if !record.key.is_empty() {
            base = base.key(record.key);
        }
        if let Some(value) = record.value {
            base = base.payload(value);
        }
        self.producer.send(base).map_err(|(error, _)| self.failure(&error))
    }

    fn failure(&self, error: &KafkaError) -> Failure {
        let code = match error {
            KafkaError::Transaction(error) => error.code(),
            other => other.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
        };
        self.classify(code, error.to_string())
    }

    /// A producer that was refused says so in the call, as its fatal error, or in what became of its records.
    fn classify(&self, code: RDKafkaErrorCode, text: String) -> Failure {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let undelivered = self.producer.client().context().delivered().failed;
        match [Some(code), fatal, undelivered].into_iter().flatten().any(is_fence) {
            true => Failure::Refused,
            false => Failure::Unknown(format!("{text} ({code:?})")),
        }
    }
}

fn is_fence(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
}

/// What the polling thread learns about the transaction in flight.
#[derive(Debug, Default)]
struct Watch {
    in_flight: AtomicBool,
    disturbed: AtomicBool,
    delivered: Mutex<Delivered>,
}

#[derive(Clone, Debug, Default)]
struct Delivered {
    offsets: Vec<RecordOffset>,
    failed: Option<RDKafkaErrorCode>,
}

/// A transaction in flight, until it is dropped.
struct InFlight<'a>(&'a Watch);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.store(false, Ordering::Release);
    }
}

impl Watch {
    fn begin(&self) -> InFlight<'_> {
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Delivered::default();
        self.in_flight.store(true, Ordering::Release);
        InFlight(self)
    }

    fn delivered(&self) -> Delivered {
        std::mem::take(&mut *self.delivered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Watch {
    /// A lost connection is told of here and nowhere else, by the thread that had it, before anything is sent again:
    /// most of them are no error to librdkafka, which repeats what was in flight. Connections that end while nothing is
    /// in flight (brokers close idle ones) leave nothing behind.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if facility == CONNECTION_LOST && self.in_flight.load(Ordering::Acquire) {
            self.disturbed.store(true, Ordering::Release);
        }
        if !matches!(level, RDKafkaLogLevel::Debug) {
            log(level, facility, text);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer");
        if self.in_flight.load(Ordering::Acquire) {
            self.disturbed.store(true, Ordering::Release);
        }
    }
}

impl ProducerContext for Watch {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => match u64::try_from(message.offset()) {
                Ok(offset) => delivered.offsets.push(RecordOffset(offset)),
                Err(_) => delivered.failed = Some(RDKafkaErrorCode::Unknown),
            },
            Err((error, _)) => delivered.failed = error.rdkafka_error_code().or(delivered.failed),
        }
    }
}

/// How long something took, beside what it gave.
pub(super) fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    (call(), started.elapsed())
}
