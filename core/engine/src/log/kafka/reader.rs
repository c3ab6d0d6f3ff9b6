//! Reading one partition: fetched in the background into a queue of its own, taken from there in batches.

use std::sync::Arc;
use std::time::Duration;

use annals_model::position::{ContextPartition, Offset, RecordOffset};
use rdkafka::error::RDKafkaErrorCode;

use super::native::Delivered;
use super::positions::Positions;
use super::reader_clients::{Fetching, ReaderClients};
use super::settings::FENCE_CHECK_KEY;
use crate::limits;
use crate::log::{BoxFuture, LogReader, RawBatch, ReadError};

/// Reads one partition of one topic.
#[derive(Debug)]
pub(super) struct PartitionReader {
    positions: Arc<Positions>,
    at: ContextPartition,
    topic: String,
    position: Offset,
    /// Where the partition ended when it was opened, until it was read up to there.
    opened_at: Offset,
    /// Nothing only while `failed`, and when it is dropped.
    fetching: Option<Fetching>,
    /// The fetch told of an error, and may have passed records over with it: another one must take its place.
    failed: bool,
    /// Never waits for what cannot be read yet.
    follows: bool,
    clients: Arc<ReaderClients>,
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        if let Some(fetching) = self.fetching.take() {
            self.clients.end(fetching);
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
        let end = positions.end_behind(at, &topic, from).await?;
        let fetching = clients.fetch(&topic, at.partition.0, from).await.map_err(ReadError::Unavailable)?;
        Ok(Self {
            positions,
            at,
            topic,
            position: from,
            opened_at: end,
            fetching: Some(fetching),
            failed: false,
            follows: false,
            clients: Arc::clone(clients),
        })
    }

    /// The same for whoever follows the partition.
    pub(super) const fn following(mut self) -> Self {
        self.follows = true;
        self
    }

    /// Everything before this was taken (or is a hole).
    pub(super) const fn position(&self) -> Offset {
        self.position
    }

    /// Takes records up to where the partition ends now, until `take` has enough. True if it got any; false where the
    /// end is reached.
    pub(super) async fn read(&mut self, take: &mut (dyn Take + Send)) -> Result<bool, ReadError> {
        if self.failed {
            self.fetch_anew().await?;
        }
        if self.drain(take)? {
            return Ok(true);
        }
        if self.follows {
            // What else there is wakes whoever waits.
            return Ok(false);
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
            let Some(filled) = self.fetching.as_ref().map(|fetching| fetching.fetch.filled()) else { return Ok(false) };
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
    /// partition's leader had changed, and to say nothing of it. And behind an error it goes on as if it were a record.
    async fn fetch_anew(&mut self) -> Result<(), ReadError> {
        tracing::debug!(at = %self.at, position = %self.position, failed = self.failed, "fetching anew");
        // Until there is another one, also where this is dropped or fails half way.
        self.failed = true;
        // The old one goes first: where places are bounded, the new one may have to wait for this very place.
        if let Some(stale) = self.fetching.take() {
            self.clients.end(stale);
        }
        let fetching = self.clients.fetch(&self.topic, self.at.partition.0, self.position).await;
        self.fetching = Some(fetching.map_err(ReadError::Unavailable)?);
        self.failed = false;
        Ok(())
    }

    /// Where the partition ends now.
    async fn end(&mut self) -> Result<Offset, ReadError> {
        self.positions.end_behind(self.at, &self.topic, self.position).await
    }

    /// Returns when there may be more, or when it is time to look at the end: see [`Self::fetch_anew`].
    pub(super) async fn wait(&mut self) -> Result<(), ReadError> {
        if self.failed {
            self.fetch_anew().await?;
        }
        let look = tokio::time::Instant::now() + Duration::from_millis(limits::KAFKA_STALL_MS);
        if self.comes_before(look).await || !self.follows {
            return Ok(());
        }
        // A follower has nobody else who looks whether the partition still ends behind it, and whether there is what
        // should have come. What an open transaction holds back should not.
        self.end().await?;
        if self.positions.stable_end(&self.topic, self.at.partition.0).await? > self.position {
            self.fetch_anew().await?;
        }
        Ok(())
    }

    /// False if nothing came.
    async fn comes_before(&mut self, look: tokio::time::Instant) -> bool {
        let Some(Fetching { fetch, .. }) = &mut self.fetching else { return false };
        loop {
            fetch.serve();
            match fetch.peek() {
                Some(Delivered::End { offset }) => self.position = self.position.max(Offset(offset)),
                Some(_) => return true,
                None => {
                    let filled = fetch.filled();
                    if tokio::time::timeout_at(look, filled.notified()).await.is_err() {
                        return false;
                    }
                    continue;
                }
            }
            fetch.advance();
        }
    }

    /// Moves what is in the queue. True if `take` got anything.
    fn drain(&mut self, take: &mut (dyn Take + Send)) -> Result<bool, ReadError> {
        let Some(Fetching { fetch, .. }) = &mut self.fetching else { return Ok(false) };
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
                    self.failed = true;
                    return Err(failed(self.at, self.position, code, text));
                }
            }
            fetch.advance();
        }
    }
}

#[cfg(test)]
mod tests;

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
        Box::pin(Self::wait(self))
    }
}
