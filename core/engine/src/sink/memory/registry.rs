//! Which generations the test store has.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_model::ids::{ContextId, LogId};
use annals_model::projection::ReadModel;
use annals_model::time::Timestamp;
use tokio::time::Instant;

use super::content::Content;
use crate::limits;
use crate::sink::{
    BuildLock, CreateError, Generation, GenerationId, GenerationState, KnownProcess, ProcessReport, PromoteError,
    Promoted, StoreError,
};

/// By read model and number.
#[derive(Debug, Default)]
pub(super) struct Registry {
    generations: BTreeMap<(String, GenerationId), Known>,
    last: BTreeMap<String, u32>,
    /// In the order in which they were heard of last.
    processes: Vec<(ProcessReport, Instant)>,
    /// A clock that only orders.
    ticks: i64,
}

#[derive(Debug)]
struct Known {
    generation: Generation,
    content: Arc<Content>,
    builder: Weak<()>,
}

impl Registry {
    fn now(&mut self) -> Timestamp {
        self.ticks += 1;
        Timestamp(self.ticks)
    }

    pub(super) fn list(&self, read_model: &str) -> Vec<Generation> {
        let of = |known: &&Known| known.generation.read_model == read_model;
        self.generations.values().filter(of).map(|known| known.generation.clone()).collect()
    }

    fn known(&mut self, read_model: &str, id: GenerationId) -> Result<&mut Known, StoreError> {
        self.generations
            .get_mut(&(read_model.to_owned(), id))
            .ok_or_else(|| StoreError::NoSuchGeneration { read_model: read_model.to_owned(), id })
    }

    pub(super) fn content(&mut self, read_model: &str, id: GenerationId) -> Result<Arc<Content>, StoreError> {
        self.known(read_model, id).map(|known| known.content.clone())
    }

    fn live(&self, read_model: &str) -> Option<&Known> {
        self.generations
            .values()
            .find(|known| known.generation.read_model == read_model && known.generation.state == GenerationState::Live)
    }

    pub(super) fn gate_of_live(&self, read_model: &str) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.live(read_model).map(|known| known.content.gate.clone())
    }

    fn put_new(
        &mut self,
        model: &ReadModel,
        id: GenerationId,
        state: GenerationState,
        reason: &str,
        log_id: LogId,
    ) -> &mut Known {
        let started_at = self.now();
        let generation = Generation {
            read_model: model.name().to_owned(),
            version: model.version(),
            id,
            state,
            started_at,
            finished_at: None,
            retired_at: None,
            verified_digest: None,
            mismatch: None,
            reason: Some(reason.to_owned()),
            failure: None,
        };
        let content = Arc::new(Content::new(model, log_id));
        let key = (model.name().to_owned(), id);
        let known = Known { generation, content, builder: Weak::new() };
        self.generations.insert(key.clone(), known);
        self.generations.get_mut(&key).unwrap_or_else(|| unreachable!("it was put there"))
    }

    fn next_id(&mut self, read_model: &str) -> GenerationId {
        let last = self.last.entry(read_model.to_owned()).or_default();
        *last += 1;
        GenerationId(*last)
    }

    pub(super) fn ensure_live(&mut self, model: &ReadModel, log_id: LogId) -> Option<Generation> {
        if self.list(model.name()).is_empty() {
            let id = self.next_id(model.name());
            self.put_new(model, id, GenerationState::Live, "first start", log_id);
        }
        self.live(model.name()).map(|known| known.generation.clone())
    }

    pub(super) fn create(
        &mut self,
        model: &ReadModel,
        reason: &str,
        log_id: LogId,
        alone: bool,
    ) -> Result<(Generation, BuildLock), CreateError> {
        let building = self.generations.values().find(|known| {
            known.generation.read_model == model.name() && known.generation.state == GenerationState::Building
        });
        let id = match building {
            Some(known) if alone && known.builder.strong_count() > 0 => {
                let read_model = model.name().to_owned();
                return Err(CreateError::AlreadyRunning { read_model, id: known.generation.id });
            }
            Some(known) => known.generation.id,
            None => self.next_id(model.name()),
        };
        let lock = Arc::new(());
        let known = self.put_new(model, id, GenerationState::Building, reason, log_id);
        known.builder = Arc::downgrade(&lock);
        Ok((known.generation.clone(), BuildLock::new(lock)))
    }

    pub(super) fn finish(
        &mut self,
        generation: &Generation,
        outcome: Result<(), &str>,
    ) -> Result<Generation, StoreError> {
        let now = self.now();
        let known = self.known(&generation.read_model, generation.id)?;
        allow(&known.generation, &[GenerationState::Building], "a building one")?;
        known.generation.state = if outcome.is_ok() { GenerationState::Ready } else { GenerationState::Failed };
        known.generation.failure = outcome.err().map(ToOwned::to_owned);
        known.generation.finished_at = Some(now);
        Ok(known.generation.clone())
    }

    pub(super) fn record_verified(&mut self, generation: &Generation, digest: &str) -> Result<(), StoreError> {
        let known = self.known(&generation.read_model, generation.id)?;
        known.generation.verified_digest = Some(digest.to_owned());
        known.generation.mismatch = None;
        Ok(())
    }

    pub(super) fn record_mismatch(&mut self, generation: &Generation, found: &str) -> Result<(), StoreError> {
        let known = self.known(&generation.read_model, generation.id)?;
        known.generation.mismatch = Some(found.to_owned());
        Ok(())
    }

    pub(super) fn is_being_built(&mut self, generation: &Generation) -> Result<bool, StoreError> {
        Ok(self.known(&generation.read_model, generation.id)?.builder.strong_count() > 0)
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

    pub(super) fn remove(&mut self, read_model: &str, id: GenerationId) -> Result<(), StoreError> {
        let known = self.known(read_model, id)?;
        allow(&known.generation, &[GenerationState::Retired, GenerationState::Failed], "a retired or failed one")?;
        self.generations.remove(&(read_model.to_owned(), id));
        Ok(())
    }

    pub(super) fn promote(
        &mut self,
        read_model: &str,
        id: GenerationId,
        models: &[Arc<ReadModel>],
        compare: bool,
    ) -> Result<Promoted, PromoteError> {
        let now = self.now();
        let target = self.known(read_model, id)?;
        if target.generation.state == GenerationState::Live {
            return Err(PromoteError::AlreadyLive { read_model: read_model.to_owned(), target: id });
        }
        allow(&target.generation, &[GenerationState::Ready, GenerationState::Retired], "a ready or retired one")?;
        let version = target.generation.version;
        let model = models.iter().find(|model| model.name() == read_model && model.version() == version);
        let model = model.ok_or_else(|| StoreError::UnknownVersion { read_model: read_model.to_owned(), version })?;
        let reached = target.content.held().checkpoints.clone();
        let live = self.live(read_model).map(|known| (known.generation.id, known.content.clone()));
        if let Some((live, content)) = live {
            let subscribed: Vec<ContextId> = model.contexts();
            let reads = |number: u8| subscribed.iter().any(|context| context.number == number);
            let components = reached.behind(&content.held().checkpoints, reads);
            if compare && !components.is_empty() {
                return Err(PromoteError::Behind { read_model: read_model.to_owned(), target: id, live, components });
            }
            let known = self.known(read_model, live)?;
            known.generation.state = GenerationState::Retired;
            known.generation.retired_at = Some(now);
            let retired = Some(known.generation.clone());
            return Ok(Promoted { live: self.make_live(read_model, id)?, retired });
        }
        Ok(Promoted { live: self.make_live(read_model, id)?, retired: None })
    }

    fn make_live(&mut self, read_model: &str, id: GenerationId) -> Result<Generation, StoreError> {
        let known = self.known(read_model, id)?;
        known.generation.state = GenerationState::Live;
        known.generation.retired_at = None;
        Ok(known.generation.clone())
    }
}

fn allow(generation: &Generation, states: &[GenerationState], needs: &'static str) -> Result<(), StoreError> {
    if states.contains(&generation.state) {
        return Ok(());
    }
    let (read_model, id, state) = (generation.read_model.clone(), generation.id, generation.state);
    Err(StoreError::WrongState { read_model, id, state, needs })
}
