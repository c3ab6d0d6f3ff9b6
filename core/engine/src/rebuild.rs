//! How does a read model become new? It is built beside the live one: a generation of its own, folded from the log,
//! loaded in bulk, caught up, and ready to be promoted. The live generation never notices.

pub mod control;
pub mod extent;
pub mod fold;
mod plan;
#[cfg(test)]
pub(crate) mod shop_log;

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_model::projection::{ReadModel, TableKind, TableShape};

use self::control::{Control, Stage};
use self::fold::{Fold, FoldError, FoldOptions, Folded, Target};
pub use self::plan::{Plan, PlanError, Why, plan};
use crate::generations::Generations;
use crate::log::{EventLog, ReadError};
use crate::runner::{self, RunnerFailure};
use crate::sink::{Checkpoints, CreateError, Generation, Sink, SinkError, StoreError};

/// A generation that is ready, and what it took.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// The generation, ready to be verified and promoted.
    pub generation: Generation,
    /// Records of the log that were folded.
    pub events: u64,
    /// Rows loaded, tombstones and rollups included: what a verification counts.
    pub rows: u64,
    /// Times that the log was read.
    pub passes: u32,
    /// How long folding took.
    pub folding: Duration,
    /// How long writing rows, rollups and indexes took.
    pub loading: Duration,
    /// What the rows stand for, now that it has caught up.
    pub checkpoints: Checkpoints,
}

/// Why a rebuild ended without a ready generation. The live generation is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// No generation could be created; if another builder is at work, wait for it.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The registry or the generation's files failed: correct the cause and rebuild again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows could not be written: correct the cause and rebuild again.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The log could not be folded: what it says applies.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// What was appended meanwhile could not be applied: what it says applies.
    #[error(transparent)]
    CatchUp(#[from] RunnerFailure),
}

impl From<ReadError> for RebuildError {
    fn from(error: ReadError) -> Self {
        Self::Fold(error.into())
    }
}

/// Builds a generation of this version of a read model beside the live one. Ends with a ready generation, or with one
/// that is marked failed and says why. If the process dies instead, the next rebuild begins the same generation anew.
pub async fn rebuild(
    log: Arc<dyn EventLog>,
    store: &Generations,
    read_model: Arc<ReadModel>,
    reason: &str,
    options: FoldOptions,
    control: &Control,
) -> Result<Rebuilt, RebuildError> {
    // Held to the end: it tells other builders, also of other processes, that this one lives.
    let (generation, _lock) = store.create(&read_model, reason).await?;
    let built = build(log, store, read_model, &generation, options, control).await;
    let outcome = built.as_ref().map(|_| ()).map_err(ToString::to_string);
    let finished = store.finish(&generation, outcome.as_ref().map(|_| ()).map_err(String::as_str)).await;
    match built {
        Ok(rebuilt) => Ok(Rebuilt { generation: finished?, ..rebuilt }),
        Err(error) => {
            if let Err(unmarked) = finished {
                tracing::warn!(%generation, error = %unmarked, "a failed build could not be marked as failed");
            }
            Err(error)
        }
    }
}

async fn build(
    log: Arc<dyn EventLog>,
    store: &Generations,
    read_model: Arc<ReadModel>,
    generation: &Generation,
    options: FoldOptions,
    control: &Control,
) -> Result<Rebuilt, RebuildError> {
    let mut sink = store.open(generation).await?;
    let started = Instant::now();
    let (folded, mut loading) =
        fold_and_load(Arc::clone(&log), Arc::clone(&read_model), sink.as_mut(), options, control).await?;
    let folding = started.elapsed().saturating_sub(loading);
    control.enter(Stage::Indexing);
    let indexing = Instant::now();
    sink.bulk_finish(&folded.totals, &folded.checkpoints).await?;
    loading += indexing.elapsed();
    let checkpoints = catch_up(log.as_ref(), &read_model, sink.as_mut(), control).await?;
    Ok(Rebuilt {
        generation: generation.clone(),
        events: folded.events,
        rows: folded.rows + rollup_rows(&read_model, &folded),
        passes: folded.passes,
        folding,
        loading,
        checkpoints,
    })
}

fn rollup_rows(read_model: &ReadModel, folded: &Folded) -> u64 {
    let rows = |shape: &TableShape| match shape.kind {
        TableKind::Rollup(index) => folded.totals.rows(index).len() as u64,
        TableKind::Rows(_) => 0,
    };
    read_model.tables().iter().map(rows).sum()
}

/// Applies what was appended while the rows were folded and loaded, as any live generation does; its runner does the rest.
async fn catch_up(
    log: &dyn EventLog,
    read_model: &ReadModel,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Checkpoints, RebuildError> {
    control.enter(Stage::CatchingUp);
    let ends = runner::ends(log, read_model).await?;
    tokio::select! {
        // A commit that is dropped is whole or not at all.
        () = control.cancelled() => Err(FoldError::Cancelled.into()),
        reached = runner::catch_up(log, read_model, sink, &ends) => Ok(reached?),
    }
}

/// Folds the log to where it ends now and loads all rows; also tells how much of the time was spent on loading.
async fn fold_and_load(
    log: Arc<dyn EventLog>,
    read_model: Arc<ReadModel>,
    sink: &mut dyn Sink,
    options: FoldOptions,
    control: &Control,
) -> Result<(Folded, Duration), RebuildError> {
    let mut fold = Fold::new(log, read_model, Target::Ends, options, control.clone()).await?;
    let mut loading = Duration::ZERO;
    while let Some(shards) = fold.next().await? {
        control.enter(Stage::Loading);
        let started = Instant::now();
        sink.bulk_load(&shards).await?;
        loading += started.elapsed();
        if fold.is_finished() {
            // Millions of rows take a while to be let go of: meanwhile the indexes are built.
            tokio::task::spawn_blocking(move || drop(shards));
        }
    }
    Ok((fold.finish(), loading))
}

#[cfg(test)]
mod tests;
