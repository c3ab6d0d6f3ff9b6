//! What the test store's generations hold, and how they are written and read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use annals_model::ids::{ContextId, LogId};
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::projection::{KeySets, ReadModel, RollupTotals, RowKey, Tables};

use super::Bug;
use super::content::{self, Content};
use super::faults::{Fault, SinkFaults};
use crate::generations::life::Refusal;
use crate::generations::registry::AnyTurn;
use crate::generations::storage::{Still, Storage};
use crate::log::BoxFuture;
use crate::sink::{
    Checkpoints, CommitError, Generation, GenerationId, Sink, SinkError, SinkSnapshot, StoreError, StoredRow,
};

/// A storage in memory. Clones share their content.
#[derive(Clone)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
}

struct Shared {
    log_id: LogId,
    models: Vec<Arc<ReadModel>>,
    contents: Mutex<Contents>,
    faults: Mutex<SinkFaults>,
    bug: Option<Bug>,
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").field("log_id", &self.shared.log_id).finish_non_exhaustive()
    }
}

type Contents = BTreeMap<(String, GenerationId), Arc<Content>>;

fn key(generation: &Generation) -> (String, GenerationId) {
    (generation.read_model.clone(), generation.id)
}

impl MemoryStorage {
    pub(super) fn with(models: Vec<Arc<ReadModel>>, log_id: LogId, bug: Option<Bug>) -> Self {
        let faults = Mutex::new(SinkFaults::none());
        Self { shared: Arc::new(Shared { log_id, models, contents: Mutex::default(), faults, bug }) }
    }

    pub(super) fn set_faults(&self, faults: SinkFaults) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    fn has(&self, bug: Bug) -> bool {
        self.shared.bug == Some(bug)
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.shared.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn content(&self, generation: &Generation) -> Result<Arc<Content>, StoreError> {
        let Generation { read_model, id, .. } = generation;
        let found = self.contents().get(&key(generation)).cloned();
        found.ok_or_else(|| Refusal::NoSuchGeneration { read_model: read_model.clone(), id: *id }.into())
    }

    fn model(&self, generation: &Generation) -> Result<Arc<ReadModel>, StoreError> {
        let (name, version) = (&generation.read_model, generation.version);
        let mut models = self.shared.models.iter();
        let found = models.find(|model| model.name() == name && model.version() == version).cloned();
        found.ok_or_else(|| StoreError::UnknownVersion { read_model: name.clone(), version })
    }
}

impl Storage for MemoryStorage {
    fn make<'a>(&'a self, _turn: &'a mut AnyTurn, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let model = self.model(generation)?;
            let content = Content::new(&model, self.shared.log_id);
            self.contents().insert(key(generation), Arc::new(content));
            Ok(())
        })
    }

    fn open<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Box<dyn Sink>, StoreError>> {
        Box::pin(async move {
            let (model, content) = (self.model(generation)?, self.content(generation)?);
            let sink = MemorySink { storage: self.clone(), label: generation.to_string(), model, content };
            Ok(Box::new(sink) as Box<dyn Sink>)
        })
    }

    fn show<'a>(&'a self, _turn: &'a mut AnyTurn, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.model(generation).map(drop) })
    }

    fn hold<'a>(
        &'a self,
        _turn: &'a mut AnyTurn,
        live: &'a Generation,
        _contexts: &'a [ContextId],
    ) -> BoxFuture<'a, Result<Option<Still>, StoreError>> {
        Box::pin(async move {
            if self.has(Bug::PromotesBehind) {
                return Ok(None);
            }
            let content = self.content(live)?;
            // Commits wait for it.
            let still = Arc::clone(&content.gate).lock_owned().await;
            let shown = content.held().checkpoints.clone();
            Ok(Some(if self.has(Bug::NotHeldStill) { Still::new(shown, ()) } else { Still::new(shown, still) }))
        })
    }

    fn remove<'a>(
        &'a self,
        _turn: &'a mut AnyTurn,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.contents().remove(&key(generation));
            Ok(())
        })
    }
}

#[derive(Debug)]
struct MemorySink {
    storage: MemoryStorage,
    label: String,
    model: Arc<ReadModel>,
    content: Arc<Content>,
}

impl MemorySink {
    fn fault(&self) -> Option<Fault> {
        self.storage.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).next()
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
        let storage = &self.storage;
        let mut keep = content::Write {
            changes,
            model: &self.model,
            tombstones: !storage.has(Bug::TombstoneLost),
            rows: true,
            rollups: true,
            checkpoint: Some((at, to)),
        };
        {
            let mut held = self.content.held();
            let found = held.checkpoints.get(at);
            if found != from && !storage.has(Bug::StaleAccepted) {
                return Err(CommitError::Stale { at, from, found });
            }
            if storage.has(Bug::CheckpointApart) {
                keep.checkpoint = None;
            }
            if storage.has(Bug::RollupApart) {
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
            let live = self.storage.has(Bug::SnapshotMoves).then(|| self.content.clone());
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
