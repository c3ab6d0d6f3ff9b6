//! `{prefix}.meta`: the one compacted topic, followed from its start and kept in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_model::ids::{ContextId, Partition};
use annals_model::position::{ContextPartition, Offset, RecordOffset};
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::sync::{Mutex, oneshot};

use super::client::log;
use super::positions::Positions;
use super::reader::{PartitionReader, Take};
use super::reader_clients::ReaderClients;
use super::settings::Clients;
use crate::limits;
use crate::log::ReadError;

/// How errors name it.
const AT: ContextPartition =
    ContextPartition { context: ContextId { number: 0, name: "meta" }, partition: Partition(0) };

/// The entries, and what reads and writes them.
pub(super) struct Meta {
    topic: String,
    readers: Arc<ReaderClients>,
    positions: Arc<Positions>,
    known: Mutex<Known>,
    producer: ThreadedProducer<Answers>,
}

impl std::fmt::Debug for Meta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meta({})", self.topic)
    }
}

/// What was read so far.
#[derive(Debug, Default)]
struct Known {
    reader: Option<PartitionReader>,
    entries: Entries,
}

#[derive(Debug, Default)]
struct Entries(BTreeMap<String, Vec<u8>>);

impl Take for Entries {
    fn has_room(&self, bytes: usize) -> bool {
        bytes <= limits::READ_BATCH_BYTES_MAX
    }

    fn take(&mut self, _: RecordOffset, key: &[u8], value: Option<&[u8]>) {
        let key = String::from_utf8_lossy(key).into_owned();
        match value {
            Some(value) => self.0.insert(key, value.to_vec()),
            None => self.0.remove(&key),
        };
    }
}

impl Meta {
    pub(super) fn connect(
        clients: &Clients,
        topic: String,
        readers: Arc<ReaderClients>,
        positions: Arc<Positions>,
    ) -> Result<Self, KafkaError> {
        let producer = ThreadedProducer::from_config_and_context(&clients.meta(), Answers)?;
        Ok(Self { topic, readers, positions, known: Mutex::default(), producer })
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Reads on up to the end, then looks.
    pub(super) async fn look<T>(&self, look: impl FnOnce(&BTreeMap<String, Vec<u8>>) -> T) -> Result<T, ReadError> {
        let mut known = self.known.lock().await;
        let read = known.follow(self).await;
        if read.is_err() {
            // The next look starts over: half of what is there must not pass for all of it.
            *known = Known::default();
        }
        read.map(|()| look(&known.entries.0))
    }

    /// Writes one entry, and returns when it is durable.
    pub(super) async fn put(&self, key: &str, value: &[u8]) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(reply)).partition(0).key(key).payload(value);
        self.producer.send(record).map_err(|(error, _)| error.to_string())?;
        answer.await.map_err(|_| "the producer stopped")?
    }
}

impl Known {
    async fn follow(&mut self, meta: &Meta) -> Result<(), ReadError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let (topic, positions) = (meta.topic.clone(), Arc::clone(&meta.positions));
                let reader = PartitionReader::open(&meta.readers, positions, AT, topic, Offset::START).await?;
                self.reader.insert(reader)
            }
        };
        while reader.read(&mut self.entries).await? {}
        Ok(())
    }
}

/// Tells whoever waits for an entry what became of it.
#[derive(Debug)]
struct Answers;

impl ClientContext for Answers {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer of meta");
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), String>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, reply: Self::DeliveryOpaque) {
        let outcome = result.as_ref().map(|_| ()).map_err(|(error, _)| error.to_string());
        // Nobody waits any more, maybe.
        let _ = reply.send(outcome);
    }
}
