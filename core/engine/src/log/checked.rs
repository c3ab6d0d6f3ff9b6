//! How does a consumer read a partition without trusting the log? It checks, on top of any implementation, that
//! nothing is missing, repeated, out of order or half there, and drops what a newer claim made void.

pub(crate) mod continuity;

use annals_model::envelope::Record;
use annals_model::position::{Checkpoint, ContextPartition, Offset};

use self::continuity::{Continuity, Step};
use super::{EventLog, LogReader, RawBatch, ReadError};
use crate::limits;

/// Reads one partition from a checkpoint on, decoded and checked.
#[derive(Debug)]
pub struct CheckedReader {
    reader: Box<dyn LogReader>,
    /// What the log delivered last.
    fresh: RawBatch,
    /// Read and not delivered yet, from `cursor` on.
    pending: RawBatch,
    cursor: usize,
    /// `pending` holds more whole commits than the last batch took.
    more: bool,
    /// Behind the last whole commit delivered.
    continuity: Continuity,
    offset: Offset,
    /// Found behind the last whole commit that could be delivered.
    broken: Option<ReadError>,
}

/// Whole commits, in order. It may hold no record: claims and void records were passed.
#[derive(Debug)]
pub struct CheckedBatch<'a> {
    /// Domain events and `$accepted` records.
    pub records: Vec<Record<'a>>,
    /// Where a consumer of these records stands.
    pub checkpoint: Checkpoint,
}

impl CheckedReader {
    /// Starts at `from`, which must lie between two commits (every checkpoint of a reader does).
    pub async fn open(log: &dyn EventLog, at: ContextPartition, from: Checkpoint) -> Result<Self, ReadError> {
        Ok(Self::on(log.reader(at, from.offset).await?, at, from))
    }

    /// The same for whoever follows the partition: [`Self::next`] never waits for what cannot be read yet.
    pub async fn follow(log: &dyn EventLog, at: ContextPartition, from: Checkpoint) -> Result<Self, ReadError> {
        Ok(Self::on(log.tail(at, from.offset).await?, at, from))
    }

    /// The same for the few records behind `from`.
    pub async fn look_up(log: &dyn EventLog, at: ContextPartition, from: Checkpoint) -> Result<Self, ReadError> {
        Ok(Self::on(log.lookup(at, from.offset).await?, at, from))
    }

    fn on(reader: Box<dyn LogReader>, at: ContextPartition, from: Checkpoint) -> Self {
        Self {
            reader,
            fresh: RawBatch::default(),
            pending: RawBatch::default(),
            cursor: 0,
            more: false,
            continuity: Continuity::new(at, from),
            offset: from.offset,
            broken: None,
        }
    }

    /// The next whole commits; nothing where the log ends for now ([`Self::wait`] then). What lies before a damaged
    /// record is delivered first, then the error, again at every call. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<CheckedBatch<'_>>, ReadError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if !self.more && !self.fill().await? {
            return Ok(None);
        }
        self.deliver().map(Some)
    }

    /// Where a consumer of everything delivered so far stands.
    pub const fn checkpoint(&self) -> Checkpoint {
        self.continuity.checkpoint(self.offset)
    }

    /// Records dropped because a newer claim was passed. Anything but 0 is a fencing failure below this reader.
    pub const fn voided(&self) -> u64 {
        self.continuity.voided()
    }

    /// Returns when there may be more to read; may return early.
    pub async fn wait(&mut self) -> Result<(), ReadError> {
        if self.more || self.broken.is_some() {
            return Ok(());
        }
        self.reader.wait().await
    }

    /// Reads on. False if the log has no more records now.
    async fn fill(&mut self) -> Result<bool, ReadError> {
        self.reader.next(&mut self.fresh).await?;
        let read_any = !self.fresh.is_empty();
        self.pending.remove_first(self.cursor);
        self.cursor = 0;
        if self.pending.is_empty() {
            std::mem::swap(&mut self.pending, &mut self.fresh);
        } else {
            self.fresh.iter().for_each(|(offset, bytes)| self.pending.push(offset, bytes));
        }
        if self.pending.is_empty() {
            // Holes at the end: a consumer that waits for a position behind them must see that it is reached.
            self.offset = self.offset.max(self.reader.position());
        }
        Ok(read_any)
    }

    /// Decodes and checks pending records up to the last whole commit.
    fn deliver(&mut self) -> Result<CheckedBatch<'_>, ReadError> {
        let left = self.pending.len() - self.cursor;
        let mut records = Vec::with_capacity(left.min(limits::CHECKED_BATCH_RECORDS_MAX));
        let mut reading = self.continuity.clone();
        // Behind the last whole commit: index in `pending`, records before it.
        let mut whole = (self.cursor, 0);
        let mut broken = None;
        self.more = false;
        for (index, (offset, bytes)) in self.pending.iter().enumerate().skip(self.cursor) {
            match reading.step(offset, bytes) {
                Ok(Step::Record(record)) => records.push(record),
                Ok(Step::Claim | Step::Void) => {}
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
            if reading.is_between_commits() {
                whole = (index + 1, records.len());
                if records.len() >= limits::CHECKED_BATCH_RECORDS_MAX {
                    self.more = index + 1 < self.pending.len();
                    break;
                }
            }
        }
        if broken.is_none() && !self.more {
            broken = overlong_commit(&self.pending, whole.0, &reading);
        }
        if let Some(error) = &broken
            && whole.0 == self.cursor
        {
            self.broken = Some(error.clone());
            return Err(error.clone());
        }
        self.broken = broken;
        self.cursor = whole.0;
        let reading = reading.whole();
        let voided = reading.voided() - self.continuity.voided();
        if voided > 0 {
            crate::telemetry::voided(voided);
        }
        self.continuity = reading;
        records.truncate(whole.1);
        self.offset = if self.cursor == self.pending.len() { self.reader.position() } else { self.continuity.offset() };
        Ok(CheckedBatch { records, checkpoint: self.continuity.checkpoint(self.offset) })
    }
}

/// An incomplete command is waited for, but not for ever: it lies in one append, and those have a largest size.
fn overlong_commit(pending: &RawBatch, whole: usize, reading: &Continuity) -> Option<ReadError> {
    let held: usize = pending.iter().skip(whole).map(|(_, bytes)| bytes.len()).sum();
    let (offset, _) = pending.iter().next_back()?;
    (held > limits::APPEND_BYTES_MAX).then(|| reading.broken(offset, "a command larger than any append"))
}

#[cfg(test)]
mod tests;
