//! Reading one partition: fetched in the background into a queue of its own, taken from there in batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use annals_model::position::{ContextPartition, Offset, RecordOffset};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;

use super::client::Quiet;
use super::native::{Delivered, Fetch, Reading};
use super::positions::Positions;
use super::writer::FENCE_CHECK_KEY;
use crate::limits;
use crate::log::{BoxFuture, LogReader, RawBatch, ReadError};

/// Clients for readers: one each at a time, kept for the next one, because connecting takes milliseconds.
#[derive(Debug)]
pub(super) struct ReaderClients {
    config: ClientConfig,
    /// How long a client's last fetch may go on after its reader has gone.
    busy: Duration,
    /// The longest idle one first.
    idle: Arc<Idle>,
    /// To the thread that waits until librdkafka has let go of a partition.
    done: mpsc::Sender<Fetch>,
}

type Idle = Mutex<VecDeque<IdleClient>>;

struct IdleClient {
    reading: Reading,
    since: Instant,
}

impl std::fmt::Debug for IdleClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdleClient")
    }
}

impl ReaderClients {
    pub(super) fn start(config: ClientConfig, busy_ms: u64) -> Result<Self, std::io::Error> {
        let idle = Arc::new(Idle::default());
        let (done, stopping) = mpsc::channel::<Fetch>();
        let kept = Arc::clone(&idle);
        std::thread::Builder::new().name("kafka readers".into()).spawn(move || {
            for fetch in stopping {
                let Some(reading) = fetch.stop() else { continue };
                let client = IdleClient { reading, since: Instant::now() };
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < limits::KAFKA_IDLE_READERS_MAX {
                    kept.push_back(client);
                }
            }
        })?;
        Ok(Self { config, busy: Duration::from_millis(busy_ms), idle, done })
    }

    /// One whose last fetch is over, or is over sooner than a new one is connected.
    async fn lend(&self) -> Result<Reading, String> {
        let left = |idle: &IdleClient| self.busy.saturating_sub(idle.since.elapsed());
        let worth_waiting = |idle: &IdleClient| left(idle) < Duration::from_millis(limits::KAFKA_CONNECT_MS);
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.front().is_some_and(worth_waiting) { idle.pop_front() } else { None }
        };
        match kept {
            Some(idle) => {
                tokio::time::sleep(left(&idle)).await;
                Ok(idle.reading)
            }
            None => BaseConsumer::from_config_and_context(&self.config, Quiet::default())
                .map(Reading::new)
                .map_err(|error| error.to_string()),
        }
    }

    async fn fetch(&self, topic: &str, partition: u16, from: Offset) -> Result<Fetch, String> {
        Fetch::start(self.lend().await?, topic, partition, from.0)
    }
}

/// Reads one partition of one topic.
#[derive(Debug)]
pub(super) struct PartitionReader {
    positions: Arc<Positions>,
    at: ContextPartition,
    topic: String,
    position: Offset,
    /// Where the partition ended when it was opened, until it was read up to there.
    opened_at: Offset,
    /// Always there, until it is dropped.
    fetch: Option<Fetch>,
    clients: Arc<ReaderClients>,
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            // Without that thread the log is gone; then the fetch ends here.
            let _ = self.clients.done.send(fetch);
        }
    }
}

impl PartitionReader {
    /// Refuses a position behind the end.
    pub(super) async fn open(
        clients: &Arc<ReaderClients>,
        positions: Arc<Positions>,
        at: ContextPartition,
        topic: String,
        from: Offset,
    ) -> Result<Self, ReadError> {
        let end = positions.end(&topic, at.partition.0).await?;
        if from > end {
            return Err(ReadError::BeyondEnd { at, position: from, end });
        }
        let fetch = clients.fetch(&topic, at.partition.0, from).await.map_err(ReadError::Unavailable)?;
        Ok(Self {
            positions,
            at,
            topic,
            position: from,
            opened_at: end,
            fetch: Some(fetch),
            clients: Arc::clone(clients),
        })
    }

    /// Everything before this was taken (or is a hole).
    pub(super) const fn position(&self) -> Offset {
        self.position
    }

    /// Takes records up to where the partition ends now, until `take` has enough. True if it got any; false where the
    /// end is reached.
    pub(super) async fn read(&mut self, take: &mut (dyn Take + Send)) -> Result<bool, ReadError> {
        if self.drain(take)? {
            return Ok(true);
        }
        // Nothing is here, but there may be something that was not fetched yet: only a look at the end tells. The one at
        // the opening serves until it is reached.
        let mut asked = self.position >= self.opened_at;
        let mut end = if asked { self.end().await? } else { self.opened_at };
        let patience = tokio::time::Instant::now() + Duration::from_millis(limits::KAFKA_READ_MS_MAX);
        loop {
            if self.drain(take)? {
                return Ok(true);
            }
            if self.position >= end {
                if asked {
                    return Ok(false);
                }
                (asked, end) = (true, self.end().await?);
                continue;
            }
            let Some(filled) = self.fetch.as_ref().map(Fetch::filled) else { return Ok(false) };
            let soon = patience.min(tokio::time::Instant::now() + Duration::from_millis(limits::KAFKA_STALL_MS));
            if tokio::time::timeout_at(soon, filled.notified()).await.is_ok() {
                continue;
            }
            if soon < patience {
                self.fetch_anew().await?;
            } else {
                let position = self.position;
                return Err(ReadError::Unavailable(format!(
                    "{} ends at {end}, and nothing came behind {position} for {} ms",
                    self.at,
                    limits::KAFKA_READ_MS_MAX
                )));
            }
        }
    }

    /// What lies behind the position, asked for once more: librdkafka was seen to ask for nothing any more after the
    /// partition's leader had changed, and to say nothing of it.
    async fn fetch_anew(&mut self) -> Result<(), ReadError> {
        tracing::info!(at = %self.at, position = %self.position, "nothing comes, fetching anew");
        let fetching = self.clients.fetch(&self.topic, self.at.partition.0, self.position).await;
        let fetch = fetching.map_err(ReadError::Unavailable)?;
        if let Some(stalled) = self.fetch.replace(fetch) {
            // As when the reader is dropped.
            let _ = self.clients.done.send(stalled);
        }
        Ok(())
    }

    /// Where the partition ends now.
    async fn end(&mut self) -> Result<Offset, ReadError> {
        let end = self.positions.end(&self.topic, self.at.partition.0).await?;
        if end < self.position {
            return Err(ReadError::BeyondEnd { at: self.at, position: self.position, end });
        }
        Ok(end)
    }

    /// Returns when there may be more, or when it is time to look at the end: see [`Self::fetch_anew`].
    pub(super) async fn wait(&mut self) {
        let Some(fetch) = &mut self.fetch else { return };
        let look = tokio::time::Instant::now() + Duration::from_millis(limits::KAFKA_STALL_MS);
        loop {
            fetch.serve();
            match fetch.peek() {
                Some(Delivered::End { offset }) => self.position = self.position.max(Offset(offset)),
                Some(_) => return,
                None => {
                    let filled = fetch.filled();
                    if tokio::time::timeout_at(look, filled.notified()).await.is_err() {
                        return;
                    }
                    continue;
                }
            }
            fetch.advance();
        }
    }

    /// Moves what is in the queue. True if `take` got anything.
    fn drain(&mut self, take: &mut (dyn Take + Send)) -> Result<bool, ReadError> {
        let Some(fetch) = &mut self.fetch else { return Ok(false) };
        fetch.serve();
        let mut taken = false;
        loop {
            match fetch.peek() {
                None => {
                    // Markers at the end are passed without being seen.
                    if let Some(position) = fetch.position() {
                        self.position = self.position.max(Offset(position));
                    }
                    return Ok(taken);
                }
                Some(Delivered::End { offset }) => self.position = self.position.max(Offset(offset)),
                Some(Delivered::Record { offset, key, value }) => {
                    if value.is_some() || key != FENCE_CHECK_KEY {
                        if taken && !take.has_room(value.map_or(0, <[u8]>::len)) {
                            return Ok(taken);
                        }
                        take.take(RecordOffset(offset), key, value);
                        taken = true;
                    }
                    self.position = RecordOffset(offset).after();
                }
                // What came before it is delivered first; the next call meets it again.
                Some(Delivered::Failed { .. }) if taken => return Ok(taken),
                Some(Delivered::Failed { code, text }) => {
                    fetch.advance();
                    return Err(failed(self.at, self.position, code, text));
                }
            }
            fetch.advance();
        }
    }
}

fn failed(at: ContextPartition, position: Offset, code: RDKafkaErrorCode, text: String) -> ReadError {
    let offset = RecordOffset(position.0);
    match code {
        RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::InvalidMessage => {
            ReadError::Corrupt { at, offset, cause: text }
        }
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
            let cause = format!("the log no longer has what follows: {text}");
            ReadError::NotContiguous { at, before: position, offset, cause }
        }
        _ => ReadError::Unavailable(format!("{at}: {text} ({code:?})")),
    }
}

/// What a reader does with records.
pub(super) trait Take {
    /// False if a record of `bytes` has to wait for the next read.
    fn has_room(&self, bytes: usize) -> bool;
    /// Takes one; no value is a tombstone.
    fn take(&mut self, offset: RecordOffset, key: &[u8], value: Option<&[u8]>);
}

impl Take for RawBatch {
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes_len() + bytes <= limits::READ_BATCH_BYTES_MAX
    }

    fn take(&mut self, offset: RecordOffset, _: &[u8], value: Option<&[u8]>) {
        // No record of ours is empty: a foreign tombstone is found to be corrupt by whoever decodes it.
        self.push(offset, value.unwrap_or_default());
    }
}

impl LogReader for PartitionReader {
    fn position(&self) -> Offset {
        self.position
    }

    fn next<'a>(&'a mut self, batch: &'a mut RawBatch) -> BoxFuture<'a, Result<(), ReadError>> {
        Box::pin(async move {
            batch.clear();
            self.read(batch).await.map(|_| ())
        })
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move {
            Self::wait(self).await;
            Ok(())
        })
    }
}
