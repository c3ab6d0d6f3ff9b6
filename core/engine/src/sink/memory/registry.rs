//! Which generations the test store has.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_model::ids::LogId;
use annals_model::projection::ReadModel;
use annals_model::time::Timestamp;
use tokio::time::Instant;

use super::content::Content;
use crate::generations::life::{Change, Life, Refusal};
use crate::limits;
use crate::sink::{
    BuildLock, CreateError, Generation, GenerationId, KnownProcess, ProcessReport, PromoteError, Promoted, StoreError,
};

/// By read model.
#[derive(Debug, Default)]
pub(super) struct Registry {
    lives: BTreeMap<String, Life>,
    held: BTreeMap<(String, GenerationId), Held>,
    /// In the order in which they were heard of last.
    processes: Vec<(ProcessReport, Instant)>,
    /// A clock that only orders.
    ticks: i64,
}

/// What a generation is made of, beside its row.
#[derive(Debug)]
struct Held {
    content: Arc<Content>,
    builder: Weak<()>,
}

impl Registry {
    fn now(&mut self) -> Timestamp {
        self.ticks += 1;
        Timestamp(self.ticks)
    }

    fn life(&mut self, read_model: &str) -> &mut Life {
        let none = || Life::new(read_model, 0, Vec::new());
        self.lives.entry(read_model.to_owned()).or_insert_with(none)
    }

    pub(super) fn list(&self, read_model: &str) -> Vec<Generation> {
        self.lives.get(read_model).map(|life| life.generations().to_vec()).unwrap_or_default()
    }

    fn held(&self, read_model: &str, id: GenerationId) -> Result<&Held, StoreError> {
        let held = self.held.get(&(read_model.to_owned(), id));
        held.ok_or_else(|| Refusal::NoSuchGeneration { read_model: read_model.to_owned(), id }.into())
    }

    pub(super) fn content(&self, read_model: &str, id: GenerationId) -> Result<Arc<Content>, StoreError> {
        self.held(read_model, id).map(|held| held.content.clone())
    }

    pub(super) fn gate_of_live(&self, read_model: &str) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let live = self.lives.get(read_model)?.live()?;
        self.content(read_model, live.id).ok().map(|content| content.gate.clone())
    }

    /// Takes a step that changes rows of the registry alone.
    pub(super) fn step(
        &mut self,
        read_model: &str,
        decide: impl FnOnce(&Life, Timestamp) -> Result<Change, Refusal>,
    ) -> Result<Generation, StoreError> {
        let at = self.now();
        let life = self.life(read_model);
        let change = decide(life, at)?;
        life.apply(&change);
        Ok(change.generation().clone())
    }

    /// The same for a generation whose content is new.
    fn make(&mut self, model: &ReadModel, log_id: LogId, change: &Change) -> (Generation, BuildLock) {
        self.life(model.name()).apply(change);
        let generation = change.generation().clone();
        let lock = Arc::new(());
        let held = Held { content: Arc::new(Content::new(model, log_id)), builder: Arc::downgrade(&lock) };
        self.held.insert((generation.read_model.clone(), generation.id), held);
        (generation, BuildLock::new(lock))
    }

    pub(super) fn ensure_live(&mut self, model: &ReadModel, log_id: LogId) -> Result<Option<Generation>, StoreError> {
        let at = self.now();
        if let Some(change) = self.life(model.name()).first_start(model.version(), at)? {
            drop(self.make(model, log_id, &change));
        }
        Ok(self.life(model.name()).live().cloned())
    }

    pub(super) fn create(
        &mut self,
        model: &ReadModel,
        reason: &str,
        log_id: LogId,
        alone: bool,
    ) -> Result<(Generation, BuildLock), CreateError> {
        let at = self.now();
        let change = self.life(model.name()).begin(model.version(), reason, at).map_err(StoreError::from)?;
        let id = change.generation().id;
        let is_held = self.held(model.name(), id).is_ok_and(|held| held.builder.strong_count() > 0);
        if alone && is_held {
            return Err(CreateError::AlreadyRunning { read_model: model.name().to_owned(), id });
        }
        Ok(self.make(model, log_id, &change))
    }

    pub(super) fn is_being_built(&self, generation: &Generation) -> Result<bool, StoreError> {
        Ok(self.held(&generation.read_model, generation.id)?.builder.strong_count() > 0)
    }

    pub(super) fn tell_of_process(&mut self, process: &ProcessReport) {
        let now = Instant::now();
        self.processes.retain(|(known, seen)| {
            known.id != process.id && now - *seen < Duration::from_millis(limits::PROCESS_FORGOTTEN_MS)
        });
        self.processes.push((process.clone(), now));
        let over = self.processes.len().saturating_sub(limits::PROCESSES_KNOWN_MAX as usize);
        self.processes.drain(..over);
    }

    pub(super) fn forget_process(&mut self, id: &str) {
        self.processes.retain(|(known, _)| known.id != id);
    }

    pub(super) fn processes(&self) -> Vec<KnownProcess> {
        let seen = |at: &Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut known: Vec<_> = self
            .processes
            .iter()
            .map(|(report, at)| KnownProcess { report: report.clone(), seen_ms_ago: seen(at) })
            .collect();
        known.sort_by_key(|process| process.report.started_at);
        known
    }

    pub(super) fn remove(&mut self, generation: &Generation) -> Result<(), StoreError> {
        self.step(&generation.read_model, |life, _| life.remove(generation))?;
        self.held.remove(&(generation.read_model.clone(), generation.id));
        Ok(())
    }

    pub(super) fn promote(
        &mut self,
        read_model: &str,
        id: GenerationId,
        models: &[Arc<ReadModel>],
        compare: bool,
    ) -> Result<Promoted, PromoteError> {
        let at = self.now();
        let refused = |refusal| PromoteError::refused(read_model, refusal);
        let promotion = self.life(read_model).promotion(id).map_err(refused)?;
        let version = promotion.target().version;
        let model = models.iter().find(|model| model.name() == read_model && model.version() == version);
        let model = model.ok_or_else(|| StoreError::UnknownVersion { read_model: read_model.to_owned(), version })?;
        if let Some(live) = promotion.live().filter(|_| compare) {
            let needed = self.content(read_model, live.id)?.held().checkpoints.clone();
            let reached = self.content(read_model, id)?.held().checkpoints.clone();
            promotion.reaches(&reached, &needed, &model.contexts()).map_err(refused)?;
        }
        let (promoted, changes) = promotion.make(at);
        changes.iter().for_each(|change| self.life(read_model).apply(change));
        Ok(promoted)
    }
}
