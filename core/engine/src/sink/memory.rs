//! A test store: generations in memory, lost with the process. It keeps the whole contract, and fails by seed, so that
//! everything above a sink is tested against lost answers and stores that are down.

mod content;
mod faults;
mod registry;
mod storage;

use std::ops::Deref;
use std::sync::Arc;

use annals_model::ids::LogId;
use annals_model::projection::ReadModel;

pub use self::faults::SinkFaults;
pub use self::registry::MemoryRegistry;
pub use self::storage::MemoryStorage;
use crate::generations::Generations;
use crate::generations::storage::Storage;
#[cfg(test)]
use crate::sink::Generation;

/// The test store: its [`Generations`], and what spoils them. Clones share their content.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    generations: Generations,
    storage: MemoryStorage,
}

/// A mistake that the contract's own test plants, to show that the contract finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bug {
    /// Rows are written before the checkpoint, in a transaction of their own.
    CheckpointApart,
    /// The stored checkpoint is not compared.
    StaleAccepted,
    /// Rollups are written after the rest.
    RollupApart,
    /// A deleted row is removed instead of kept as a tombstone.
    TombstoneLost,
    /// A storage says of a live generation that nobody can have been shown anything of it.
    PromotesBehind,
    /// A live generation is not held still.
    NotHeldStill,
    /// A snapshot reads what is there when it is asked.
    SnapshotMoves,
    /// Nobody looks whether a builder is at work.
    BuilderNotAlone,
    /// When a generation was retired is written once, so that nobody sees that it was live since.
    RetiredAtKept,
    /// When a build was begun is written once, so that nobody sees that it was begun anew.
    BegunAnewUnseen,
    /// Rows of the registry are written whatever they are by now.
    WritesOverWhatChanged,
    /// A turn looks at the rows before it is its turn.
    TurnsOverlap,
    /// What is written in a turn stands before it is committed.
    WritesAtOnce,
}

/// What a generation held.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct Backup(content::Held);

impl MemoryStore {
    /// Without faults, for a log.
    pub fn new(models: impl IntoIterator<Item = Arc<ReadModel>>, log_id: LogId) -> Self {
        Self::with(models, log_id, None)
    }

    pub(super) fn with(models: impl IntoIterator<Item = Arc<ReadModel>>, log_id: LogId, bug: Option<Bug>) -> Self {
        let models: Vec<_> = models.into_iter().collect();
        let storage = MemoryStorage::with(models.clone(), log_id, bug);
        let stored = [(models, Arc::new(storage.clone()) as Arc<dyn Storage>)];
        let generations = Generations::new(log_id, Arc::new(MemoryRegistry::with(bug)), stored);
        Self { generations, storage }
    }

    /// Replaces the faults from now on.
    pub fn set_faults(&self, faults: SinkFaults) {
        self.storage.set_faults(faults);
    }

    /// A generation as it is now, for [`Self::restore`].
    #[cfg(test)]
    pub(crate) fn backup(&self, generation: &Generation) -> Backup {
        let content = self.storage.content(generation);
        Backup(content.map(|content| content.held().clone()).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Puts a generation back to what it was: rows and checkpoints, under whoever has it open.
    #[cfg(test)]
    pub(crate) fn restore(&self, generation: &Generation, Backup(held): Backup) {
        let content = self.storage.content(generation);
        *content.unwrap_or_else(|error| panic!("{error}")).held() = held;
    }
}

impl Deref for MemoryStore {
    type Target = Generations;

    fn deref(&self) -> &Generations {
        &self.generations
    }
}

#[cfg(test)]
mod tests;
