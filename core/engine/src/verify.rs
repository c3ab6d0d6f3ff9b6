//! Is a generation what the log says? Its rows and its checkpoint are copied aside in one consistent view, the log is
//! folded to exactly that checkpoint without asking the generation anything, and both are compared row by row.

mod compare;
mod spool;
mod trace;

use std::sync::Arc;

use annals_model::canonical::Digest;
use annals_model::ids::EventId;
use annals_model::position::{Checkpoint, ContextPartition, RecordOffset};
use annals_model::projection::{OwnedValue, ReadModel, RowKey, RowLife};

use self::compare::Comparison;
use self::spool::Spool;
use crate::generations::Generations;
use crate::limits;
use crate::log::EventLog;
use crate::rebuild::control::{Control, Stage};
use crate::rebuild::fold::{Fold, FoldError, FoldOptions, Folded, Target};
use crate::sink::{Checkpoints, Generation, SinkError, StoreError};

/// What a verification found.
#[derive(Clone, Debug, PartialEq)]
pub enum VerifyOutcome {
    /// Every row and every rollup is what the log says; the digest is recorded with the generation.
    Equal {
        /// Over all tables.
        digest: Digest,
        /// Rows compared, tombstones and rollups included.
        rows: u64,
        /// Records of the log that they stand for.
        events: u64,
        /// By table.
        tables: Vec<TableReport>,
        /// Where the generation stood.
        checkpoints: Checkpoints,
    },
    /// Rows differ from the log. Rebuild the read model; the live rows were changed by something else than its runner,
    /// or its handlers without its version.
    Diverges {
        /// Rows that differ.
        diverging: u64,
        /// The first of them, at most [`crate::limits::VERIFY_DIVERGENCES_MAX`].
        first: Vec<Divergence>,
        /// Records of the log that were folded.
        events: u64,
        /// By table.
        tables: Vec<TableReport>,
        /// Where the generation stood.
        checkpoints: Checkpoints,
    },
    /// The generation claims a position that the log does not have. Rebuild the read model, or restore the log.
    NoSuchCheckpoint {
        /// The partition.
        at: ContextPartition,
        /// What the generation claims.
        checkpoint: Checkpoint,
        /// What the log has there.
        found: Checkpoint,
    },
}

/// One table, compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// The table.
    pub table: &'static str,
    /// Rows of the generation.
    pub rows: u64,
    /// Their digest.
    pub digest: Digest,
    /// Rows by the log.
    pub folded_rows: u64,
    /// Their digest.
    pub folded_digest: Digest,
    /// Rows that differ.
    pub diverging: u64,
}

/// A row that is not what the log says.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The table.
    pub table: &'static str,
    /// The row.
    pub key: RowKey,
    /// What the generation has; nothing = no such row.
    pub stored: Option<RowImage>,
    /// What the log says; nothing = no such row.
    pub folded: Option<RowImage>,
    /// The events of this row, the first [`crate::limits::VERIFY_EVENTS_MAX`]. None for rows of rollups.
    pub events: Vec<TracedEvent>,
}

/// A row's content.
#[derive(Clone, Debug, PartialEq)]
pub struct RowImage {
    /// Live or a tombstone.
    pub life: RowLife,
    /// By column.
    pub values: Vec<OwnedValue>,
}

/// Where to look an event up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedEvent {
    /// The partition.
    pub at: ContextPartition,
    /// Where it lies there.
    pub offset: RecordOffset,
    /// Its id.
    pub event_id: EventId,
    /// Its wire name.
    pub event_type: String,
}

/// Why nothing could be said. Nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The generation is of another version of the read model: verify it with the definition it was built by.
    #[error("{generation} cannot be verified by version {version} of the read model")]
    OtherVersion {
        /// The generation.
        generation: String,
        /// The version that was given.
        version: u32,
    },
    /// The generation cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The generation cannot be read.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The generation delivers rows in another order than that of their keys: its file is damaged. Rebuild it.
    #[error("table {table} delivers row {key} out of order; rebuild the read model")]
    Order {
        /// The table.
        table: &'static str,
        /// The row.
        key: RowKey,
    },
    /// The log cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The rows cannot be copied aside: make room for a copy of the generation, then try again.
    #[error("rows cannot be copied aside: {0}")]
    Spool(#[from] std::io::Error),
}

/// Compares a generation with the log and records what came of it: the digest if they are equal, else what is wrong. The
/// generation may be live: its runner goes on meanwhile.
pub async fn verify(
    log: Arc<dyn EventLog>,
    store: &Generations,
    read_model: Arc<ReadModel>,
    generation: &Generation,
    options: FoldOptions,
    control: &Control,
) -> Result<VerifyOutcome, VerifyError> {
    if generation.version != read_model.version() || generation.read_model != read_model.name() {
        let (generation, version) = (generation.to_string(), read_model.version());
        return Err(VerifyError::OtherVersion { generation, version });
    }
    let outcome = compared(log, store, read_model, generation, options, control).await;
    if let Some(found) = mismatch(&outcome) {
        let found: String = found.chars().take(limits::TROUBLE_CHARS_MAX).collect();
        // What was found is said to the caller all the same.
        if let Err(error) = store.record_mismatch(generation, &found).await {
            tracing::warn!(%generation, %error, "what a verification found cannot be recorded");
        }
    }
    outcome
}

/// What a verification found, if it is nothing that passes: in words, for the registry.
fn mismatch(outcome: &Result<VerifyOutcome, VerifyError>) -> Option<String> {
    match outcome {
        Ok(VerifyOutcome::Equal { .. }) => None,
        Ok(VerifyOutcome::Diverges { diverging, .. }) => {
            Some(format!("{diverging} {} not what the log says", if *diverging == 1 { "row is" } else { "rows are" }))
        }
        Ok(VerifyOutcome::NoSuchCheckpoint { at, checkpoint, .. }) => {
            Some(format!("it stands at {at} offset {}, which is no position of the log", checkpoint.offset))
        }
        Err(VerifyError::Sink(error) | VerifyError::Store(StoreError::Sink(error))) if !error.is_transient() => {
            Some(error.to_string())
        }
        Err(error @ VerifyError::Order { .. }) => Some(error.to_string()),
        Err(_) => None,
    }
}

async fn compared(
    log: Arc<dyn EventLog>,
    store: &Generations,
    read_model: Arc<ReadModel>,
    generation: &Generation,
    options: FoldOptions,
    control: &Control,
) -> Result<VerifyOutcome, VerifyError> {
    control.enter(Stage::Snapshot);
    let mut sink = store.open(generation).await?;
    let snapshot = sink.snapshot().await?;
    let spool = Spool::write(snapshot, &read_model, control).await?;
    let checkpoints = spool.checkpoints.clone();
    let compared = compare(Arc::clone(&log), &read_model, spool, options, control).await;
    let (comparison, folded) = match compared {
        Err(VerifyError::Fold(FoldError::NoSuchCheckpoint { at, checkpoint, found })) => {
            return Ok(VerifyOutcome::NoSuchCheckpoint { at, checkpoint, found });
        }
        compared => compared?,
    };
    let (tables, mut first) = comparison.into_reports();
    let diverging = tables.iter().map(|table| table.diverging).sum();
    if diverging > 0 {
        control.enter(Stage::Tracing);
        trace::add_events(log.as_ref(), &read_model, &checkpoints, &mut first, control).await?;
        return Ok(VerifyOutcome::Diverges { diverging, first, events: folded.events, tables, checkpoints });
    }
    // Rows are named first: of a damaged row the check could say only that an index does not know it.
    sink.check().await?;
    let digest = Digest::of_tables(tables.iter().map(|table| (table.table, table.rows, table.digest)));
    store.record_verified(generation, &digest.to_string()).await?;
    let rows = tables.iter().map(|table| table.rows).sum();
    Ok(VerifyOutcome::Equal { digest, rows, events: folded.events, tables, checkpoints })
}

async fn compare(
    log: Arc<dyn EventLog>,
    read_model: &Arc<ReadModel>,
    spool: Spool,
    options: FoldOptions,
    control: &Control,
) -> Result<(Comparison, Folded), VerifyError> {
    let target = Target::Exactly(spool.checkpoints.clone());
    let mut fold = Fold::new(log, Arc::clone(read_model), target, options, control.clone()).await?;
    let mut comparison = Comparison::new(spool)?;
    while let Some(shards) = fold.next().await? {
        control.enter(Stage::Comparing);
        comparison = blocking(move || comparison.range(&shards)).await?;
    }
    let folded = fold.finish();
    let totals = folded.totals.clone();
    Ok((blocking(move || comparison.rollups(&totals)).await?, folded))
}

/// Comparing is work and reads a file.
async fn blocking(
    work: impl FnOnce() -> std::io::Result<Comparison> + Send + 'static,
) -> Result<Comparison, std::io::Error> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests;
