//! Where do rows go? Into a sink: the one writer of one generation.
//!
//! The one promise everything else leans on: rows and checkpoint move together or not at all, and only from the
//! checkpoint that the caller believes in. Every implementation passes `contract`, as
//! every registry and every storage of [`crate::generations`] does.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod memory;

mod disagreement;
mod error;
mod process;

use std::fmt;

use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::projection::{KeySets, OwnedValue, RollupTotals, RowKey, RowLife, Tables};

pub use self::disagreement::false_checkpoint;
pub use self::error::{CommitError, CreateError, PromoteError, SinkError, StoreError};
pub use self::process::{KnownProcess, ProcessKind, ProcessReport, ProcessTrouble};
pub use crate::generations::life::Promoted;
pub use crate::generations::registry::BuildLock;
pub use crate::generations::{BehindComponent, Checkpoints, Generation, GenerationId, GenerationState};
use crate::log::BoxFuture;

/// The writer of one generation. Several may exist, also in several processes: the checkpoint decides between them.
///
/// What [`Sink::commit`] does, by the stored checkpoint of the partition (compared as a whole, not by offset alone):
///
/// | stored          | answer                  | what it means to the caller                                       |
/// |-----------------|-------------------------|-------------------------------------------------------------------|
/// | = `from`        | `Ok`                    | all rows, rollups and the checkpoint `to` are in                  |
/// | = `to`          | `Stale { found: to }`   | the very batch is in already (a lost answer, or another instance) |
/// | anything else   | `Stale { found }`       | another instance went on: forget rows in memory, go on at `found` |
/// | cannot be read  | `Sink(Unavailable)`     | nothing is known: ask again, the next answer is one of the above  |
///
/// In every row but the first, nothing is changed.
pub trait Sink: Send + fmt::Debug {
    /// How far the generation has come in every partition.
    fn checkpoints(&mut self) -> BoxFuture<'_, Result<Checkpoints, SinkError>>;

    /// Puts the stored rows of `keys`, tombstones included, into `tables`; absent rows stay absent.
    fn load<'a>(&'a mut self, keys: &'a KeySets, tables: &'a mut Tables) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Writes the changed rows, the deltas of their rollups and the checkpoint in one atomic step: see the table above.
    /// Visible to other connections at once; after a power loss the generation may be older, never inconsistent.
    fn commit<'a>(
        &'a mut self,
        changes: &'a Tables,
        at: ContextPartition,
        from: Checkpoint,
        to: Checkpoint,
    ) -> BoxFuture<'a, Result<(), CommitError>>;

    /// Writes rows into a generation that is being built: no checkpoint, no rollup, no index, not durable yet. The
    /// shards hold disjoint keys; they are merged in key order, and ranges of keys should arrive in ascending order.
    fn bulk_load<'a>(&'a mut self, shards: &'a [Tables]) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Ends the bulk load: rollups, indexes, checkpoints. When it returns, all of it is durable.
    fn bulk_finish<'a>(
        &'a mut self,
        rollups: &'a RollupTotals,
        checkpoints: &'a Checkpoints,
    ) -> BoxFuture<'a, Result<(), SinkError>>;

    /// One consistent view of checkpoints and rows, which later commits do not change.
    fn snapshot(&mut self) -> BoxFuture<'_, Result<Box<dyn SinkSnapshot>, SinkError>>;

    /// Looks for damage that rows read one by one do not show: indexes that do not lead to them. Reads everything.
    fn check(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }
}

/// A consistent view of a generation.
pub trait SinkSnapshot: Send + fmt::Debug {
    /// What the rows stand for.
    fn checkpoints(&self) -> &Checkpoints;

    /// Replaces `rows` by the next rows of a table (an index into `ReadModel::tables`) in key order, behind `after`;
    /// at most [`crate::limits::SNAPSHOT_CHUNK_ROWS_MAX`]. Empty behind the last row.
    fn rows<'a>(
        &'a mut self,
        table: usize,
        after: Option<RowKey>,
        rows: &'a mut Vec<StoredRow>,
    ) -> BoxFuture<'a, Result<(), SinkError>>;
}

/// A row as a sink holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// Its key.
    pub key: RowKey,
    /// Live or a tombstone; rows of rollups are live.
    pub life: RowLife,
    /// The columns' values, in the order of the table's shape.
    pub values: Vec<OwnedValue>,
}
