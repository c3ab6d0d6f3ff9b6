//! The event log's contract. Object-safe at batch granularity: one boxed future per batch, never one per event.
//!
//! What callers MUST NOT rely on: that offsets are dense, that they start at 0, or that an offset of one partition
//! says anything about another. Every implementation passes `log_contract`.

pub(crate) mod admission;
pub mod checked;
pub(crate) mod claim_record;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub(crate) mod holes;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(any(test, feature = "testing"))]
pub mod layer;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod sqlite;
pub mod stats;
pub mod verify;
mod walk;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use annals_model::ids::{ContextId, LogId};
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, Ordinal, RecordOffset};

/// A boxed future; one per batch.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Key and value of a `meta` entry.
pub type MetaEntry = (String, Vec<u8>);

/// Who claims: named in the `$claim` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// One process's life, e.g. a UUID.
    pub id: String,
    /// Where other nodes reach it; empty when it serves nobody else.
    pub address: String,
}

/// An append-only, partitioned, durable log with single-writer partitions.
pub trait EventLog: Send + Sync + fmt::Debug {
    /// This log's identity: new after a restore or an import.
    fn id(&self) -> LogId;

    /// Why nothing is appended now, where that is more than a passing fault: readiness is false meanwhile.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Number of partitions of a context, fixed at the log's creation.
    fn partitions(&self, context: ContextId) -> u16;

    /// Takes sole ownership of a partition. When it returns, every writer claimed before is fenced, what it had in
    /// flight is either committed below the barrier or gone, and state folded up to the barrier is current.
    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>>;

    /// A reader that starts at `from` and delivers raw records.
    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>>;

    /// A reader for whoever follows the partition: as [`Self::reader`], but `next` never waits. It delivers what can be
    /// read now, although more may lie before the end that nobody may see yet: an append that its owner left open when
    /// it died.
    fn tail(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        self.reader(at, from)
    }

    /// A reader for the few records behind `from`: as [`Self::reader`], but it need not fetch ahead.
    fn lookup(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        self.reader(at, from)
    }

    /// A position to read *up to*: a reader whose position has reached it has seen everything that was durable when
    /// this was called.
    fn end(&self, at: ContextPartition) -> BoxFuture<'_, Result<Offset, ReadError>>;

    /// Ordinal of the partition's last durable record, 0 if it has none: what lag in events is counted with.
    fn last_ordinal(&self, at: ContextPartition) -> BoxFuture<'_, Result<Ordinal, ReadError>>;

    /// `count` records that follow each other from `first` on, `$claim`s left out: the events of one command.
    fn read_run(
        &self,
        at: ContextPartition,
        first: RecordOffset,
        count: usize,
    ) -> BoxFuture<'_, Result<RawBatch, ReadError>> {
        Box::pin(async move {
            let mut reader = self.lookup(at, first.at()).await?;
            let (mut found, mut batch) = (RawBatch::default(), RawBatch::default());
            while found.len() < count {
                reader.next(&mut batch).await?;
                if batch.is_empty() {
                    return Err(missing(at, first));
                }
                let events = batch.iter().filter(|(_, bytes)| !is_claim(bytes));
                events.take(count - found.len()).for_each(|(offset, bytes)| found.push(offset, bytes));
            }
            Ok(found)
        })
    }

    /// The records at these offsets, in the order given.
    fn read_each<'a>(
        &'a self,
        at: ContextPartition,
        offsets: &'a [RecordOffset],
    ) -> BoxFuture<'a, Result<RawBatch, ReadError>> {
        Box::pin(async move {
            let (mut found, mut near) = (RawBatch::default(), RawBatch::default());
            for offset in offsets {
                // Records that are asked for together often lie together: what was read for one is looked at first.
                if near.get(*offset).is_none() {
                    self.lookup(at, offset.at()).await?.next(&mut near).await?;
                }
                let bytes = near.get(*offset).ok_or_else(|| missing(at, *offset))?;
                found.push(*offset, bytes);
            }
            Ok(found)
        })
    }

    /// Reads a `meta` value.
    fn meta_get(&self, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReadError>>;

    /// All `meta` entries whose key starts with `prefix`, by key.
    fn meta_list(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<MetaEntry>, ReadError>>;

    /// Writes a `meta` value durably, before it is relied on.
    fn meta_put(&self, key: &str, value: &[u8]) -> BoxFuture<'_, Result<(), MetaError>>;
}

/// A successful claim.
#[derive(Debug)]
pub struct Claimed {
    /// The only writer of the partition until the next claim.
    pub writer: Box<dyn LogWriter>,
    /// State folded up to here is current; it covers the `$claim` record itself.
    pub barrier: Offset,
}

/// The only handle that can append to a partition. It is consumed by an append and comes back only where it may be
/// used again: two appends in flight, or reuse after `Unknown`, cannot be written.
pub trait LogWriter: Send + fmt::Debug {
    /// The claim that this writer holds; every record it appends carries it.
    fn claim_epoch(&self) -> ClaimEpoch;

    /// True if the partition should be claimed again before the next append, although the last one is durable: an append
    /// would be `Unknown`, with nothing written, for no other reason than that something went wrong below before.
    fn is_spent(&self) -> bool {
        false
    }

    /// Appends all of the batch, durable and in order, or nothing. A dropped future counts as `Unknown`.
    fn append(self: Box<Self>, batch: AppendBatch) -> BoxFuture<'static, AppendOutcome>;

    /// Asks the log whether this writer is still the newest claim: the proof of ownership of an owner that has answers
    /// but nothing to append. It leaves nothing behind that a reader delivers.
    fn prove(self: Box<Self>) -> BoxFuture<'static, ProofOutcome>;
}

/// How an append ended: four ways, because a commit can time out with its outcome unknown.
#[derive(Debug)]
pub enum AppendOutcome {
    /// All of it is durable. `positions[i]` is where record i lies.
    Durable {
        /// May be used again.
        writer: Box<dyn LogWriter>,
        /// One per record of the batch, increasing.
        positions: Vec<RecordOffset>,
    },
    /// Nothing was written; the same batch may be tried again.
    Aborted {
        /// May be used again.
        writer: Box<dyn LogWriter>,
        /// Why, for the log line.
        cause: String,
    },
    /// A newer claim exists: nothing was written; forget all state of the partition.
    Fenced,
    /// All or nothing was written, nobody knows which: claim again and read to the barrier.
    Unknown {
        /// Why, for the log line.
        cause: String,
    },
}

/// How a proof of ownership ended.
#[derive(Debug)]
pub enum ProofOutcome {
    /// No newer claim exists.
    Owner {
        /// May be used again.
        writer: Box<dyn LogWriter>,
    },
    /// A newer claim exists.
    Fenced,
    /// The log did not answer; claim again.
    Unknown {
        /// Why, for the log line.
        cause: String,
    },
}

/// Encoded records in one contiguous buffer, in order: what one append writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl AppendBatch {
    /// Empty, with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::new() }
    }
    /// Adds one record; `encode` appends its bytes.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }
    /// Removes all records behind the first `records`.
    pub fn truncate(&mut self, records: usize) {
        self.ends.truncate(records);
        self.bytes.truncate(self.ends.last().copied().unwrap_or_default());
    }
    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// Bytes of all records.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }
    /// The records' bytes, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator + Clone {
        self.ends.iter().enumerate().map(|(index, end)| {
            let start = if index == 0 { 0 } else { self.ends[index - 1] };
            &self.bytes[start..*end]
        })
    }
}

/// Raw records as a reader delivers them: one contiguous buffer that is reused, no allocation per record.
#[derive(Clone, Debug, Default)]
pub struct RawBatch {
    bytes: Vec<u8>,
    records: Vec<(RecordOffset, usize, usize)>,
}

impl RawBatch {
    /// Empties it and keeps the buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }
    /// Adds a record's bytes.
    pub fn push(&mut self, offset: RecordOffset, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.records.push((offset, start, self.bytes.len()));
    }
    /// Adds a whole stored block and the records that lie in it, as (offset, range within the block).
    pub fn push_block(&mut self, block: &[u8], records: impl Iterator<Item = (RecordOffset, std::ops::Range<usize>)>) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(block);
        self.records.extend(records.map(|(offset, range)| (offset, base + range.start, base + range.end)));
    }
    /// Removes the first `count` records and keeps the rest, moved to the front.
    pub fn remove_first(&mut self, count: usize) {
        let Some(&(_, start, _)) = self.records.get(count) else { return self.clear() };
        self.bytes.drain(..start);
        self.records.drain(..count);
        for (_, from, to) in &mut self.records {
            *from -= start;
            *to -= start;
        }
    }
    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }
    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
    /// Bytes held.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }
    /// Where among the records the one at this offset is, if it is here. Needs records in the log's order.
    pub fn index(&self, offset: RecordOffset) -> Option<usize> {
        self.records.binary_search_by_key(&offset, |record| record.0).ok()
    }
    /// The record at this offset, if it is here. Needs records in the log's order.
    pub fn get(&self, offset: RecordOffset) -> Option<&[u8]> {
        let (_, start, end) = self.records[self.index(offset)?];
        Some(&self.bytes[start..end])
    }
    /// Offset and bytes of each record, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RecordOffset, &[u8])> + DoubleEndedIterator {
        self.records.iter().map(|(offset, start, end)| (*offset, &self.bytes[*start..*end]))
    }
}

/// Reads one partition in order. Delivers raw records, `$claim`s among them; `checked::CheckedReader` checks
/// ordinals, epochs and whole commits on top of any implementation.
pub trait LogReader: Send + fmt::Debug {
    /// Everything before this was delivered (or is a hole).
    fn position(&self) -> Offset;

    /// Replaces `batch` by the next records, at most [`crate::limits::READ_BATCH_BYTES_MAX`] unless one append alone
    /// is larger; empty when the end is reached, and for [`EventLog::tail`] when nothing more can be read now.
    fn next<'a>(&'a mut self, batch: &'a mut RawBatch) -> BoxFuture<'a, Result<(), ReadError>>;

    /// Returns when there may be records behind the position; may return early, never late by more than a poll of
    /// the log (≤ 1 ms in the writer's process, ≤ 10 ms in another).
    fn wait(&mut self) -> BoxFuture<'_, Result<(), ReadError>>;
}

/// Why a claim failed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The context has no such partition.
    #[error("the log has no partition {0}")]
    NoSuchPartition(ContextPartition),
    /// The log cannot be written now; try again with backoff.
    #[error("the log cannot be claimed: {0}")]
    Unavailable(String),
    /// The log is damaged: stop and verify it.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log cannot be read now; try again with backoff.
    #[error("the log cannot be read: {0}")]
    Unavailable(String),
    /// A position behind the end, or of another history: a shortened or restored log. Never skipped.
    #[error(
        "{at}: position {position} lies beyond the log's end {end}: the log was shortened or replaced; restore it, or rebuild what holds this position"
    )]
    BeyondEnd {
        /// The partition.
        at: ContextPartition,
        /// What was asked for.
        position: Offset,
        /// Where the log ends.
        end: Offset,
    },
    /// The bytes at a position are damaged: nothing is guessed; restore the log from a backup.
    #[error("{at}: corrupt record at offset {offset}: {cause}; run `annals log verify`, restore the log from a backup")]
    Corrupt {
        /// The partition.
        at: ContextPartition,
        /// Where.
        offset: RecordOffset,
        /// What is wrong with it.
        cause: String,
    },
    /// What lies beside the records (published schemas, partition counts) is damaged: restore the log from a backup.
    #[error("{0}; run `annals log verify`, restore the log from a backup")]
    CorruptMeta(String),
    /// Records are missing, repeated or out of order.
    #[error(
        "{at}: {cause} between offsets {before} and {offset}; run `annals log verify`, restore the log from a backup"
    )]
    NotContiguous {
        /// The partition.
        at: ContextPartition,
        /// The last position known to be good.
        before: Offset,
        /// Where it breaks.
        offset: RecordOffset,
        /// What is wrong.
        cause: String,
    },
}

/// Why a `meta` write failed.
#[derive(Debug, thiserror::Error)]
#[error("the log's meta cannot be written: {0}")]
pub struct MetaError(pub String);

/// A record that the owner knows of is not in the log.
pub(crate) fn missing(at: ContextPartition, offset: RecordOffset) -> ReadError {
    ReadError::Corrupt { at, offset, cause: "the record is not there".to_owned() }
}

pub(crate) fn is_claim(bytes: &[u8]) -> bool {
    annals_model::envelope::read_frame(bytes)
        .is_ok_and(|(schema, _)| schema == annals_model::engine_record::CLAIM_SCHEMA)
}
