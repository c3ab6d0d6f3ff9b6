//! Folding the log into rows, in memory and in parallel.
//!
//! All events of a row lie in one partition, so each worker folds whole partitions into tables of its own and no two
//! ever meet. Over the memory limit the upper half of the keys is given up: that pass finishes the keys below, a later
//! pass reads the log again for those above. The rows are the same whatever the limit and the number of workers.

mod pass;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use annals_model::ids::LogId;
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::projection::{ApplyFailure, ReadModel, RollupTotals, RowKey, SharedRow, Tables};

use self::pass::{Pass, StopOnDrop, Until};
use super::control::{Control, Stage};
use super::extent::extents;
use crate::limits;
use crate::log::{EventLog, ReadError};
use crate::panics::panic_text;
use crate::sink::Checkpoints;

/// How a fold uses the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldOptions {
    /// Memory for rows, bytes. Below the size of a single row it cannot be kept.
    pub memory_bytes_max: usize,
    /// Partitions folded at the same time.
    pub workers: usize,
    /// Events read per second, over all workers; nothing = as fast as it goes.
    pub events_per_second_max: Option<u64>,
}

impl Default for FoldOptions {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            memory_bytes_max: limits::FOLD_MEMORY_BYTES_DEFAULT,
            workers: processors.min(limits::FOLD_WORKERS_MAX),
            events_per_second_max: None,
        }
    }
}

/// How far to fold.
#[derive(Clone, Debug)]
pub enum Target {
    /// At least to where the log ends when the fold begins.
    Ends,
    /// Exactly to these checkpoints; partitions without one are not read.
    Exactly(Checkpoints),
}

/// Why a fold ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The log cannot be read: what it says about it applies.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event cannot be applied: fix the read model's handlers and rebuild under a new version.
    #[error("{at}: {failure}")]
    Apply {
        /// The partition.
        at: ContextPartition,
        /// Which event, at which row, and why.
        failure: Box<ApplyFailure>,
    },
    /// A checkpoint is none of this log: what holds it claims events that the log does not have. Rebuild it.
    #[error("{at}: no such checkpoint: offset {}, ordinal {}; the log has ordinal {} there", checkpoint.offset, checkpoint.ordinal, found.ordinal)]
    NoSuchCheckpoint {
        /// The partition.
        at: ContextPartition,
        /// What was asked for.
        checkpoint: Checkpoint,
        /// What the log has there.
        found: Checkpoint,
    },
    /// The checkpoints are of another log: rebuild from this one.
    #[error("the checkpoints are of log {found}, this is log {log}")]
    OtherLog {
        /// The log of the checkpoints.
        found: LogId,
        /// The log to be folded.
        log: LogId,
    },
    /// Events of two partitions are routed to one row: fix the projection and rebuild under a new version.
    #[error("read model {read_model}: {row}")]
    SharedRow {
        /// The read model.
        read_model: &'static str,
        /// Which row.
        row: SharedRow,
    },
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A handler panicked: fix it and rebuild under a new version.
    #[error("folding read model {read_model} panicked: {cause}")]
    Panicked {
        /// The read model.
        read_model: &'static str,
        /// What the panic said.
        cause: String,
    },
}

/// What a finished fold has to tell.
#[derive(Clone, Debug)]
pub struct Folded {
    /// What the rows stand for.
    pub checkpoints: Checkpoints,
    /// The rollups over all rows.
    pub totals: RollupTotals,
    /// Records of the log that the rows stand for, wanted or not.
    pub events: u64,
    /// Rows, tombstones included.
    pub rows: u64,
    /// Times that the log was read.
    pub passes: u32,
}

/// A fold under way: hands out finished ranges of keys, in ascending order.
#[derive(Debug)]
pub struct Fold {
    log: Arc<dyn EventLog>,
    read_model: Arc<ReadModel>,
    options: FoldOptions,
    control: Control,
    partitions: Vec<Until>,
    /// Keys from here on are not finished; outer nothing = all are.
    next: Option<Option<RowKey>>,
    totals: RollupTotals,
    events_total: u64,
    bytes_per_event: u64,
    rows: u64,
    passes: u32,
}

impl Fold {
    /// Looks where the log ends; reads nothing of it yet.
    pub async fn new(
        log: Arc<dyn EventLog>,
        read_model: Arc<ReadModel>,
        target: Target,
        options: FoldOptions,
        control: Control,
    ) -> Result<Self, FoldError> {
        let extents = extents(log.as_ref(), &read_model.contexts()).await?;
        let events: u64 = extents.iter().map(|extent| extent.ordinal.0).sum();
        let bytes: u64 = extents.iter().map(|extent| extent.ordinal.0 * extent.bytes_per_event).sum();
        let mut partitions: Vec<Until> = match &target {
            Target::Ends => extents.iter().map(|extent| Until::AtLeast(extent.at, extent.end)).collect(),
            Target::Exactly(checkpoints) if checkpoints.log_id() != log.id() => {
                return Err(FoldError::OtherLog { found: checkpoints.log_id(), log: log.id() });
            }
            Target::Exactly(checkpoints) => {
                if let Some((at, checkpoint)) =
                    checkpoints.iter().find(|(at, _)| extents.iter().all(|extent| extent.at != *at))
                {
                    return Err(FoldError::NoSuchCheckpoint { at, checkpoint, found: Checkpoint::default() });
                }
                checkpoints.iter().map(|(at, to)| Until::Exactly(at, to)).collect()
            }
        };
        // The longest first, so that no worker is left alone with it in the end.
        partitions.sort_by_key(|partition| std::cmp::Reverse(partition.offset()));
        Ok(Self {
            totals: read_model.new_rollup_totals(),
            log,
            read_model,
            options,
            control,
            events_total: match target {
                Target::Ends => events,
                Target::Exactly(checkpoints) => checkpoints.iter().map(|(_, to)| to.ordinal.0).sum(),
            },
            partitions,
            next: Some(None),
            bytes_per_event: bytes.checked_div(events).unwrap_or_default(),
            rows: 0,
            passes: 0,
        })
    }

    /// The next finished range of keys: tables of the same range with disjoint keys, one per worker. Nothing when all
    /// keys are finished.
    pub async fn next(&mut self) -> Result<Option<Vec<Tables>>, FoldError> {
        let Some(lower) = self.next else { return Ok(None) };
        self.passes += 1;
        self.control.update(|progress| {
            progress.stage = Stage::Folding;
            progress.pass = self.passes;
            progress.events_total = self.events_total;
            progress.bytes_per_event = self.bytes_per_event;
            progress.events_done = 0;
        });
        let workers = self.options.workers.clamp(1, limits::FOLD_WORKERS_MAX).min(self.partitions.len().max(1));
        let pass = Arc::new(Pass::new(self, lower, workers));
        let _stop = StopOnDrop(Arc::clone(&pass));
        let shards = run(&pass, workers).await?;
        let upper = pass.upper();
        let (shards, totals) = self.finish_range(shards, upper).await?;
        self.totals = totals;
        self.rows += shards.iter().map(|shard| shard.row_count() as u64).sum::<u64>();
        self.control.update(|progress| progress.rows = self.rows);
        self.partitions = pass.reached();
        self.next = upper.map(Some);
        Ok(Some(shards))
    }

    /// Drops what other workers gave up, and adds the rows to the rollups.
    async fn finish_range(
        &self,
        mut shards: Vec<Tables>,
        upper: Option<RowKey>,
    ) -> Result<(Vec<Tables>, RollupTotals), FoldError> {
        let read_model = self.read_model.name();
        let mut totals = self.totals.clone();
        let finish = move || {
            shards.iter_mut().for_each(|shard| {
                if let Some(upper) = upper {
                    shard.lower_upper(upper);
                }
            });
            for (index, shard) in shards.iter().enumerate() {
                if let Some(row) = shards[..index].iter().find_map(|other| shard.shared_row(other)) {
                    return Err(FoldError::SharedRow { read_model, row });
                }
                totals.add(shard);
            }
            Ok((shards, totals))
        };
        joined(read_model, tokio::task::spawn_blocking(finish).await)
    }

    /// True when all keys are finished: there is no further range.
    pub const fn is_finished(&self) -> bool {
        self.next.is_none()
    }

    /// What the rows stand for, once [`Self::next`] has said that all keys are finished.
    pub fn finish(self) -> Folded {
        let mut checkpoints = Checkpoints::start(self.log.id());
        let mut events = 0;
        for partition in &self.partitions {
            if let Until::Exactly(at, checkpoint) = partition {
                checkpoints.set(*at, *checkpoint);
                events += checkpoint.ordinal.0;
            }
        }
        Folded { checkpoints, totals: self.totals, events, rows: self.rows, passes: self.passes }
    }
}

/// Runs the workers of a pass on blocking threads: folding is work, not waiting.
async fn run(pass: &Arc<Pass>, workers: usize) -> Result<Vec<Tables>, FoldError> {
    let runtime = tokio::runtime::Handle::current();
    let handles: Vec<_> = (0..workers)
        .map(|worker| {
            let (pass, runtime) = (Arc::clone(pass), runtime.clone());
            tokio::task::spawn_blocking(move || runtime.block_on(pass.work(worker)))
        })
        .collect();
    let mut shards = Vec::with_capacity(workers);
    let mut failed = None;
    for handle in handles {
        match joined(pass.read_model.name(), handle.await) {
            Ok(tables) => shards.push(tables),
            Err(error) => {
                pass.stop.store(true, Ordering::Relaxed);
                // The others stop because of the first: what it said counts.
                if !matches!((&failed, &error), (Some(_), FoldError::Cancelled)) {
                    failed = Some(error);
                }
            }
        }
    }
    failed.map_or(Ok(shards), Err)
}

fn joined<T>(
    read_model: &'static str,
    result: Result<Result<T, FoldError>, tokio::task::JoinError>,
) -> Result<T, FoldError> {
    result.unwrap_or_else(|error| {
        let panic = error.try_into_panic().ok();
        let text = panic.as_ref().and_then(|panic| panic_text(&**panic));
        Err(FoldError::Panicked { read_model, cause: text.unwrap_or("no message").to_owned() })
    })
}

#[cfg(test)]
mod tests;
