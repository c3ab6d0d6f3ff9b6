//! Where do rows go? Into a sink: the one writer of one generation. And which generations are there? A store knows.
//!
//! The one promise everything else leans on: rows and checkpoint move together or not at all, and only from the
//! checkpoint that the caller believes in. Every implementation passes `contract`.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod memory;

mod disagreement;
mod error;
mod process;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use annals_model::ids::LogId;
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::projection::{KeySets, OwnedValue, ReadModel, RollupTotals, RowKey, RowLife, Tables};
use tokio::sync::watch;

pub use self::disagreement::false_checkpoint;
pub use self::error::{CommitError, CreateError, PromoteError, SinkError, StoreError};
pub use self::process::{KnownProcess, ProcessKind, ProcessReport, ProcessTrouble};
use crate::generations::life::Life;
pub use crate::generations::life::Promoted;
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

    /// Replaces `rows` by the next rows of a table (an index into [`ReadModel::tables`]) in key order, behind `after`;
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

/// All generations of all read models of one deployment: what exists, what is served, who builds.
///
/// Builders, promoters and runners may live in different processes: locks and registry are the store's, not the
/// process's. What callers MUST NOT rely on: that a generation listed a moment ago still has the same state.
pub trait GenerationStore: Send + Sync + fmt::Debug {
    /// The log whose positions this store's generations stand for.
    fn log_id(&self) -> LogId;

    /// The read models, in all versions, that this build carries.
    fn read_models(&self) -> &[Arc<ReadModel>];

    /// All generations of a read model, oldest first.
    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>>;

    /// The live generation; where the read model has no generation at all, the first one is created live and empty, at
    /// the log's start, in this version. Where generations exist but none is live, nothing is created.
    fn ensure_live<'a>(&'a self, read_model: &'a ReadModel) -> BoxFuture<'a, Result<Option<Generation>, StoreError>>;

    /// Begins to build a generation: empty, [`GenerationState::Building`], and nobody else's while the lock is held. What
    /// a dead builder left is begun anew, under its number.
    fn create<'a>(
        &'a self,
        read_model: &'a ReadModel,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(Generation, BuildLock), CreateError>>;

    /// The writer of a generation. Refuses tables that differ from the read model's definition, and another log's.
    fn open<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Box<dyn Sink>, StoreError>>;

    /// Ends a build: `Ok` makes it ready, `Err` failed for this cause. It must be building.
    fn finish<'a>(
        &'a self,
        generation: &'a Generation,
        outcome: Result<(), &'a str>,
    ) -> BoxFuture<'a, Result<Generation, StoreError>>;

    /// Whether somebody builds a generation now: its lock is held. One that is [`GenerationState::Building`] and is not
    /// was left by a builder that died. It may have ended meanwhile: [`Self::is_abandoned`] looks at both.
    fn is_being_built<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Records that a verification found other rows than the log says, and what it found, until one succeeds.
    fn record_mismatch<'a>(
        &'a self,
        generation: &'a Generation,
        found: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Makes a process known, or tells that it still lives; forgets those that were not heard of for
    /// [`crate::limits::PROCESS_FORGOTTEN_MS`], and all but the newest [`crate::limits::PROCESSES_KNOWN_MAX`].
    fn tell_of_process<'a>(&'a self, process: &'a ProcessReport) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Forgets a process that ended in good order.
    fn forget_process<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// All processes that are known, the longest known first.
    fn processes(&self) -> BoxFuture<'_, Result<Vec<KnownProcess>, StoreError>>;

    /// Records the digest of a successful verification.
    fn record_verified<'a>(
        &'a self,
        generation: &'a Generation,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Makes a ready or retired generation live and retires the live one, in one transaction that also checks that the
    /// target has come as far as the live one in every partition it reads; waits for the target's runner for at most
    /// [`crate::limits::PROMOTE_WAIT_MS_MAX`] while it holds the live one still. A live generation of another log
    /// (the log was restored since) has no positions to compare and gives way to any of this log.
    fn promote<'a>(
        &'a self,
        read_model: &'a str,
        target: GenerationId,
    ) -> BoxFuture<'a, Result<Promoted, PromoteError>>;

    /// Removes the rows of a retired or failed generation and forgets it, if it is still what the caller has seen. Where
    /// its rows cannot be removed it is still known, and can be removed again.
    fn remove<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Changes whenever the registry may have changed, here or in another process, within
    /// [`crate::limits::REGISTRY_POLL_MS`].
    fn changes(&self) -> watch::Receiver<u64>;

    /// One generation.
    fn generation<'a>(
        &'a self,
        read_model: &'a str,
        id: GenerationId,
    ) -> BoxFuture<'a, Result<Generation, StoreError>> {
        Box::pin(async move {
            let generations = self.list(read_model).await?;
            Ok(Life::new(read_model, 0, generations).get(id)?.clone())
        })
    }

    /// How far a generation has come, as it is stored: asked often, beside whoever writes it. A store that can tell
    /// without opening the generation's sink should.
    fn stored_checkpoints<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        Box::pin(async move { Ok(self.open(generation).await?.checkpoints().await?) })
    }

    /// Asks the store anew whether a generation's rows can be read, not a connection that was opened while they could;
    /// how far they have come.
    fn probe<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        self.stored_checkpoints(generation)
    }

    /// Whether a generation was left half built by a builder that died: the next rebuild begins it anew.
    fn is_abandoned<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            if generation.state != GenerationState::Building || self.is_being_built(generation).await? {
                return Ok(false);
            }
            // A builder that ended well between the two looks let go of its lock, too.
            let now = self.list(&generation.read_model).await?;
            Ok(now.iter().any(|known| known == generation))
        })
    }

    /// The live generation, if there is one.
    fn live<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Option<Generation>, StoreError>> {
        Box::pin(async move {
            let generations = self.list(read_model).await?;
            Ok(Life::new(read_model, 0, generations).live().cloned())
        })
    }

    /// Promotes the generation that was retired last, by the rule of every promotion.
    fn rollback<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Promoted, PromoteError>> {
        Box::pin(async move {
            let life = Life::new(read_model, 0, self.list(read_model).await?);
            let target = life.rollback().map_err(|refusal| PromoteError::refused(read_model, refusal))?;
            self.promote(read_model, target).await
        })
    }

    /// A read model in one version, if this build carries it.
    fn read_model(&self, name: &str, version: u32) -> Option<Arc<ReadModel>> {
        self.read_models().iter().find(|model| model.name() == name && model.version() == version).cloned()
    }
}

/// Held by a builder; released when dropped, also by the death of the process.
pub struct BuildLock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>);

impl BuildLock {
    /// Of whatever releases the lock when dropped.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for BuildLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuildLock")
    }
}
