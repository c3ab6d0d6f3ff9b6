//! One pass over the log: the workers, and what they share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use annals_model::envelope::Record;
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, Offset};
use annals_model::projection::{KeyRange, ReadModel, RowKey, Tables};

use super::{Control, Fold, FoldError};
use crate::limits;
use crate::log::EventLog;
use crate::log::checked::CheckedReader;

/// Where to stop in one partition.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Between any two commits from here on: the first pass decides, the others stop at the same place.
    AtLeast(ContextPartition, Offset),
    /// Here.
    Exactly(ContextPartition, Checkpoint),
}

impl Until {
    pub(super) const fn at(&self) -> ContextPartition {
        match self {
            Self::AtLeast(at, _) | Self::Exactly(at, _) => *at,
        }
    }
    pub(super) const fn offset(&self) -> Offset {
        match self {
            Self::AtLeast(_, offset) => *offset,
            Self::Exactly(_, checkpoint) => checkpoint.offset,
        }
    }
}

/// What the workers of one pass share.
#[derive(Debug)]
pub(super) struct Pass {
    log: Arc<dyn EventLog>,
    pub(super) read_model: Arc<ReadModel>,
    control: Control,
    lower: Option<RowKey>,
    /// What each partition is folded to; those that were reached become exact.
    partitions: Mutex<Vec<Until>>,
    queue: Mutex<VecDeque<usize>>,
    /// Keys from here on are given up in this pass; it only ever falls.
    upper: Mutex<Option<RowKey>>,
    /// Counts changes of `upper`.
    upper_changes: AtomicUsize,
    /// Bytes of rows that each worker holds.
    held: Vec<AtomicUsize>,
    held_max: usize,
    events: AtomicU64,
    events_per_second_max: Option<u64>,
    started: Instant,
    pub(super) stop: AtomicBool,
}

/// Stops the workers of a pass that nobody waits for any more.
pub(super) struct StopOnDrop(pub(super) Arc<Pass>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// A worker's own part.
struct Worker {
    index: usize,
    tables: Tables,
    upper_changes: usize,
}

impl Pass {
    pub(super) fn new(fold: &Fold, lower: Option<RowKey>, workers: usize) -> Self {
        // The last quarter is for sorting the keys of a finished range and for what is being read.
        let held_max = fold.options.memory_bytes_max / 4 * 3;
        Self {
            log: Arc::clone(&fold.log),
            read_model: Arc::clone(&fold.read_model),
            control: fold.control.clone(),
            lower,
            partitions: Mutex::new(fold.partitions.clone()),
            queue: Mutex::new((0..fold.partitions.len()).collect()),
            upper: Mutex::new(None),
            upper_changes: AtomicUsize::new(0),
            held: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            held_max,
            events: AtomicU64::new(0),
            events_per_second_max: fold.options.events_per_second_max,
            started: Instant::now(),
            stop: AtomicBool::new(false),
        }
    }

    /// The lowest key that was given up.
    pub(super) fn upper(&self) -> Option<RowKey> {
        *lock(&self.upper)
    }

    /// Where each partition stands after the pass.
    pub(super) fn reached(&self) -> Vec<Until> {
        lock(&self.partitions).clone()
    }

    /// Folds partitions until there are none left.
    pub(super) async fn work(&self, index: usize) -> Result<Tables, FoldError> {
        let tables = self.read_model.new_tables(KeyRange { lower: self.lower, upper: None });
        let mut worker = Worker { index, tables, upper_changes: 0 };
        loop {
            let Some(partition) = lock(&self.queue).pop_front() else { return Ok(worker.tables) };
            let until = lock(&self.partitions)[partition];
            let reached = self.fold_partition(until, &mut worker).await?;
            lock(&self.partitions)[partition] = Until::Exactly(until.at(), reached);
        }
    }

    async fn fold_partition(&self, until: Until, worker: &mut Worker) -> Result<Checkpoint, FoldError> {
        let (at, end) = (until.at(), until.offset());
        let mut reader = CheckedReader::open(self.log.as_ref(), at, Checkpoint::default()).await?;
        // What was folded, and what the log has at the first record behind it.
        let mut folded = Checkpoint::default();
        let mut behind = None;
        while reader.checkpoint().offset < end {
            let Some(batch) = reader.next().await? else { break };
            let within = match until {
                Until::AtLeast(..) => batch.records.len(),
                Until::Exactly(..) => batch.records.partition_point(|record| record.offset.at() < end),
            };
            for records in batch.records[..within].chunks(limits::FOLD_CHUNK_EVENTS) {
                self.apply(at, records, worker)?;
            }
            if let Some(last) = within.checked_sub(1).map(|index| &batch.records[index]) {
                folded = checkpoint_behind(last);
            }
            behind = batch.records.get(within).map(|record| record.envelope.claim_epoch);
            self.pace(within as u64).await?;
        }
        let read = reader.checkpoint();
        match until {
            Until::AtLeast(..) if read.offset >= end => Ok(read),
            Until::Exactly(_, checkpoint)
                if read.offset >= end && is_there(&checkpoint, &folded, behind.unwrap_or(read.claim_epoch)) =>
            {
                Ok(checkpoint)
            }
            Until::AtLeast(_, offset) => {
                let checkpoint = Checkpoint { offset, ..Checkpoint::default() };
                Err(FoldError::NoSuchCheckpoint { at, checkpoint, found: read })
            }
            Until::Exactly(_, checkpoint) => Err(FoldError::NoSuchCheckpoint { at, checkpoint, found: folded }),
        }
    }

    fn apply(&self, at: ContextPartition, records: &[Record<'_>], worker: &mut Worker) -> Result<(), FoldError> {
        if self.stop.load(Ordering::Relaxed) || self.control.is_cancelled() {
            return Err(FoldError::Cancelled);
        }
        for record in records {
            self.read_model.apply(record, &mut worker.tables).map_err(|failure| FoldError::Apply { at, failure })?;
        }
        self.bound_memory(worker);
        Ok(())
    }

    /// Gives up keys that others gave up, and half of the own ones where all workers together hold too much.
    fn bound_memory(&self, worker: &mut Worker) {
        let changes = self.upper_changes.load(Ordering::Acquire);
        if worker.upper_changes != changes {
            worker.upper_changes = changes;
            if let Some(upper) = self.upper() {
                worker.tables.lower_upper(upper);
            }
        }
        let own = worker.tables.approx_bytes();
        self.held[worker.index].store(own, Ordering::Relaxed);
        let all: usize = self.held.iter().map(|held| held.load(Ordering::Relaxed)).sum();
        // Who holds at least its share splits: half of that is the most that one split can win.
        if all > self.held_max
            && own >= all / self.held.len()
            && let Some(bound) = worker.tables.split_upper()
        {
            self.held[worker.index].store(worker.tables.approx_bytes(), Ordering::Relaxed);
            let mut upper = lock(&self.upper);
            if upper.is_none_or(|upper| bound < upper) {
                *upper = Some(bound);
                self.upper_changes.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Tells of progress, and waits where reading goes faster than it may.
    async fn pace(&self, events: u64) -> Result<(), FoldError> {
        let done = self.events.fetch_add(events, Ordering::Relaxed) + events;
        let elapsed = self.started.elapsed();
        self.control.update(|progress| {
            progress.events_done = progress.events_done.max(done);
            progress.elapsed = elapsed;
        });
        let Some(rate) = self.events_per_second_max else { return Ok(()) };
        let due = Duration::from_secs_f64(done as f64 / rate.max(1) as f64);
        while let Some(early) = due.checked_sub(self.started.elapsed()).filter(|early| !early.is_zero()) {
            if self.stop.load(Ordering::Relaxed) || self.control.is_cancelled() {
                return Err(FoldError::Cancelled);
            }
            tokio::time::sleep(early.min(Duration::from_millis(limits::FOLD_PAUSE_MS_MAX))).await;
        }
        Ok(())
    }
}

fn checkpoint_behind(record: &Record<'_>) -> Checkpoint {
    Checkpoint {
        offset: record.offset.after(),
        ordinal: record.envelope.ordinal,
        claim_epoch: record.envelope.claim_epoch,
        emitted_at: record.envelope.emitted_at,
    }
}

/// True if a checkpoint says of its place what the log says: `folded` is behind the last record before it, and
/// `next_claim` is the claim of what comes next.
fn is_there(checkpoint: &Checkpoint, folded: &Checkpoint, next_claim: ClaimEpoch) -> bool {
    checkpoint.ordinal == folded.ordinal
        && checkpoint.emitted_at == folded.emitted_at
        && (folded.claim_epoch..=next_claim).contains(&checkpoint.claim_epoch)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is replaced as a whole: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
