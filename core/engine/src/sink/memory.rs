//! A test store: generations in memory, lost with the process. It keeps the whole contract, and fails by seed, so that
//! everything above a sink is tested against lost answers and stores that are down.

mod content;
mod faults;
mod registry;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_model::ids::LogId;
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::projection::{KeySets, ReadModel, RollupTotals, RowKey, Tables};
use tokio::sync::watch;

use self::content::Content;
use self::faults::Fault;
pub use self::faults::SinkFaults;
use self::registry::Registry;
use super::{
    BuildLock, Checkpoints, CommitError, CreateError, Generation, GenerationId, GenerationStore, KnownProcess,
    ProcessReport, PromoteError, Promoted, Sink, SinkError, SinkSnapshot, StoreError, StoredRow,
};
use crate::limits;
use crate::log::BoxFuture;

/// The test store. Clones share their content.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    log_id: LogId,
    models: Vec<Arc<ReadModel>>,
    registry: Mutex<Registry>,
    faults: Mutex<SinkFaults>,
    changes: watch::Sender<u64>,
    bug: Option<Bug>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("log_id", &self.log_id).finish_non_exhaustive()
    }
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
    /// Whether the target has come far enough is not asked.
    PromotesBehind,
    /// A snapshot reads what is there when it is asked.
    SnapshotMoves,
    /// Nobody looks whether a builder is at work.
    BuilderNotAlone,
    /// Whether a generation is still what the caller has seen is not asked before it is removed.
    RemovesWhatChanged,
    /// Nor before its build is ended.
    EndsAnothersBuild,
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
        Self {
            shared: Arc::new(Shared {
                log_id,
                models: models.into_iter().collect(),
                registry: Mutex::new(Registry::default()),
                faults: Mutex::new(SinkFaults::none()),
                changes: watch::Sender::new(0),
                bug,
            }),
        }
    }

    /// Replaces the faults from now on.
    pub fn set_faults(&self, faults: SinkFaults) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// A generation as it is now, for [`Self::restore`].
    #[cfg(test)]
    pub(crate) fn backup(&self, generation: &Generation) -> Backup {
        let content = self.registry().content(&generation.read_model, generation.id);
        Backup(content.map(|content| content.held().clone()).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Puts a generation back to what it was: rows and checkpoints, under whoever has it open.
    #[cfg(test)]
    pub(crate) fn restore(&self, generation: &Generation, Backup(held): Backup) {
        let content = self.registry().content(&generation.read_model, generation.id);
        *content.unwrap_or_else(|error| panic!("{error}")).held() = held;
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, bug: Bug) -> bool {
        self.shared.bug == Some(bug)
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|version| *version += 1);
    }
}

impl GenerationStore for MemoryStore {
    fn log_id(&self) -> LogId {
        self.shared.log_id
    }

    fn read_models(&self) -> &[Arc<ReadModel>] {
        &self.shared.models
    }

    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>> {
        Box::pin(async move { Ok(self.registry().list(read_model)) })
    }

    fn ensure_live<'a>(&'a self, model: &'a ReadModel) -> BoxFuture<'a, Result<Option<Generation>, StoreError>> {
        Box::pin(async move {
            let live = self.registry().ensure_live(model, self.shared.log_id)?;
            self.changed();
            Ok(live)
        })
    }

    fn create<'a>(
        &'a self,
        model: &'a ReadModel,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(Generation, BuildLock), CreateError>> {
        Box::pin(async move {
            let alone = !self.has(Bug::BuilderNotAlone);
            let created = self.registry().create(model, reason, self.shared.log_id, alone)?;
            self.changed();
            Ok(created)
        })
    }

    fn open<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Box<dyn Sink>, StoreError>> {
        Box::pin(async move {
            let (name, version) = (&generation.read_model, generation.version);
            let model = self.read_model(name, version);
            let model = model.ok_or_else(|| StoreError::UnknownVersion { read_model: name.clone(), version })?;
            let content = self.registry().content(name, generation.id)?;
            let sink = MemorySink { store: self.clone(), label: generation.to_string(), model, content };
            Ok(Box::new(sink) as Box<dyn Sink>)
        })
    }

    fn finish<'a>(
        &'a self,
        generation: &'a Generation,
        outcome: Result<(), &'a str>,
    ) -> BoxFuture<'a, Result<Generation, StoreError>> {
        Box::pin(async move {
            let finished =
                self.registry().step(&generation.read_model, |life, at| match self.has(Bug::EndsAnothersBuild) {
                    true => life.finish(life.get(generation.id)?, outcome, at),
                    false => life.finish(generation, outcome, at),
                })?;
            self.changed();
            Ok(finished)
        })
    }

    fn record_verified<'a>(
        &'a self,
        generation: &'a Generation,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let verified = self.registry().step(&generation.read_model, |life, _| life.verified(generation, digest));
            verified.map(|_| ())
        })
    }

    fn record_mismatch<'a>(
        &'a self,
        generation: &'a Generation,
        found: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let found = self.registry().step(&generation.read_model, |life, _| life.mismatch(generation, found));
            found.map(|_| ())
        })
    }

    fn is_being_built<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { self.registry().is_being_built(generation) })
    }

    fn tell_of_process<'a>(&'a self, process: &'a ProcessReport) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.registry().tell_of_process(process);
            Ok(())
        })
    }

    fn forget_process<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.registry().forget_process(id);
            Ok(())
        })
    }

    fn processes(&self) -> BoxFuture<'_, Result<Vec<KnownProcess>, StoreError>> {
        Box::pin(async move { Ok(self.registry().processes()) })
    }

    fn promote<'a>(
        &'a self,
        read_model: &'a str,
        target: GenerationId,
    ) -> BoxFuture<'a, Result<Promoted, PromoteError>> {
        Box::pin(async move {
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(limits::PROMOTE_WAIT_MS_MAX);
            let gate = self.registry().gate_of_live(read_model);
            // Held until the end: commits to the live generation wait for it.
            let _still = match &gate {
                Some(gate) => Some(gate.lock().await),
                None => None,
            };
            loop {
                let compare = !self.has(Bug::PromotesBehind);
                let answer = self.registry().promote(read_model, target, &self.shared.models, compare);
                match answer {
                    Err(PromoteError::Behind { .. }) if tokio::time::Instant::now() < deadline => {
                        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    }
                    answer => {
                        self.changed();
                        return answer;
                    }
                }
            }
        })
    }

    fn remove<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let generation = match self.has(Bug::RemovesWhatChanged) {
                true => self.generation(&generation.read_model, generation.id).await?,
                false => generation.clone(),
            };
            self.registry().remove(&generation)?;
            self.changed();
            Ok(())
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

#[derive(Debug)]
struct MemorySink {
    store: MemoryStore,
    label: String,
    model: Arc<ReadModel>,
    content: Arc<Content>,
}

impl MemorySink {
    fn fault(&self) -> Option<Fault> {
        self.store.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    fn down(&self) -> SinkError {
        SinkError::Unavailable { generation: self.label.clone(), cause: "injected fault".to_owned() }
    }

    async fn commit_changes(
        &mut self,
        changes: &Tables,
        at: ContextPartition,
        from: Checkpoint,
        to: Checkpoint,
    ) -> Result<(), CommitError> {
        let fault = self.fault();
        if fault == Some(Fault::Down) {
            return Err(self.down().into());
        }
        let gate = self.content.gate.clone();
        let _may_write = gate.lock().await;
        // A place where the caller may give up.
        tokio::task::yield_now().await;
        let store = &self.store;
        let mut keep = content::Write {
            changes,
            model: &self.model,
            tombstones: !store.has(Bug::TombstoneLost),
            rows: true,
            rollups: true,
            checkpoint: Some((at, to)),
        };
        {
            let mut held = self.content.held();
            let found = held.checkpoints.get(at);
            if found != from && !store.has(Bug::StaleAccepted) {
                return Err(CommitError::Stale { at, from, found });
            }
            if store.has(Bug::CheckpointApart) {
                keep.checkpoint = None;
            }
            if store.has(Bug::RollupApart) {
                keep.rollups = false;
            }
            keep.write(&mut held);
        }
        tokio::task::yield_now().await;
        let late = content::Write {
            rows: false,
            rollups: !keep.rollups,
            checkpoint: if keep.checkpoint.is_none() { Some((at, to)) } else { None },
            ..keep
        };
        late.write(&mut self.content.held());
        if fault == Some(Fault::LostAnswer) { Err(self.down().into()) } else { Ok(()) }
    }
}

impl Sink for MemorySink {
    fn checkpoints(&mut self) -> BoxFuture<'_, Result<Checkpoints, SinkError>> {
        Box::pin(async move {
            if self.fault() == Some(Fault::Down) {
                return Err(self.down());
            }
            Ok(self.content.held().checkpoints.clone())
        })
    }

    fn load<'a>(&'a mut self, keys: &'a KeySets, tables: &'a mut Tables) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.fault() == Some(Fault::Down) {
                return Err(self.down());
            }
            self.content.held().load(&self.model, keys, tables).map_err(|(table, cause)| SinkError::Damaged {
                generation: self.label.clone(),
                table: table.to_owned(),
                cause: cause.to_string(),
            })
        })
    }

    fn commit<'a>(
        &'a mut self,
        changes: &'a Tables,
        at: ContextPartition,
        from: Checkpoint,
        to: Checkpoint,
    ) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(self.commit_changes(changes, at, from, to))
    }

    fn bulk_load<'a>(&'a mut self, shards: &'a [Tables]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            shards.iter().for_each(|shard| self.content.held().add_all(&self.model, shard));
            Ok(())
        })
    }

    fn bulk_finish<'a>(
        &'a mut self,
        rollups: &'a RollupTotals,
        checkpoints: &'a Checkpoints,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.content.held().finish(&self.model, rollups, checkpoints);
            Ok(())
        })
    }

    fn snapshot(&mut self) -> BoxFuture<'_, Result<Box<dyn SinkSnapshot>, SinkError>> {
        Box::pin(async move {
            let held = self.content.held().clone();
            let live = self.store.has(Bug::SnapshotMoves).then(|| self.content.clone());
            Ok(Box::new(MemorySnapshot { held, live }) as Box<dyn SinkSnapshot>)
        })
    }
}

#[derive(Debug)]
struct MemorySnapshot {
    held: content::Held,
    /// Only with [`Bug::SnapshotMoves`].
    live: Option<Arc<Content>>,
}

impl SinkSnapshot for MemorySnapshot {
    fn checkpoints(&self) -> &Checkpoints {
        &self.held.checkpoints
    }

    fn rows<'a>(
        &'a mut self,
        table: usize,
        after: Option<RowKey>,
        rows: &'a mut Vec<StoredRow>,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            match &self.live {
                Some(live) => live.held().page(table, after, rows),
                None => self.held.page(table, after, rows),
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
