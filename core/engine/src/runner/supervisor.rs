//! Keeps a runner on every generation that must be current, and says which generation is live.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use annals_model::position::PositionVector;
use annals_model::projection::ReadModel;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::health::{Health, Watcher};
use super::observer::{Observer, observe};
use super::progress::{RunnerFailure, RunnerProgress};
use super::tries::Outages;
use super::view::{GenerationStatus, LiveReadModel, Shown, View};
use super::{RunnerHandle, start_again};
use crate::generations::Generations;
use crate::limits;
use crate::log::EventLog;
use crate::outage::Outage;
use crate::sink::{Generation, GenerationId, GenerationState, StoreError};

/// All read models of a process: their runners, and which generation serves. Dropping it ends the runners.
#[derive(Debug)]
pub struct ReadModels {
    view: Arc<RwLock<View>>,
    health: watch::Receiver<Vec<Health>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// Ends with this.
    watcher: AbortHandle,
}

impl Drop for ReadModels {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl ReadModels {
    /// Makes sure that every read model of the store has a live generation (of its newest version, if it has none at
    /// all), and starts a runner for every ready, live and retired one. Then follows the registry: what another process
    /// builds, promotes or removes is known here within [`limits::REGISTRY_POLL_MS`].
    pub async fn start(log: Arc<dyn EventLog>, store: Generations) -> Result<Self, StoreError> {
        Self::start_where(log, store, |_| true).await
    }

    /// The same for the read models whose name is wanted.
    pub async fn start_where(
        log: Arc<dyn EventLog>,
        store: Generations,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Self, StoreError> {
        let mut models = newest(store.read_models());
        models.retain(|name, _| is_wanted(name));
        for model in models.values() {
            store.ensure_live(model).await?;
        }
        Self::follow(store, models.into_keys().collect(), log.clone(), Role::Runs(log)).await
    }

    /// Runs nothing: follows the registry, and what other processes have stored. Where nobody runs a read model, it has
    /// no live generation here either, or one that does not move.
    pub async fn observe(log: Arc<dyn EventLog>, store: Generations) -> Result<Self, StoreError> {
        let names = newest(store.read_models()).into_keys().collect();
        Self::follow(store, names, log, Role::Observes).await
    }

    async fn follow(
        store: Generations,
        names: Vec<String>,
        log: Arc<dyn EventLog>,
        role: Role,
    ) -> Result<Self, StoreError> {
        let view = Arc::new(RwLock::new(View::default()));
        let (publish, health) = watch::channel(Vec::new());
        let mut watcher = Watcher::new(log, store.clone(), names.clone(), view.clone(), publish);
        let mut supervisor =
            Supervisor { role, store, names, view: view.clone(), runners: BTreeMap::new(), outages: BTreeMap::new() };
        let mut changes = supervisor.store.changes();
        changes.mark_unchanged();
        supervisor.look().await?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(supervisor.run(changes, stopped));
        // Before anybody is told that this process is ready.
        watcher.look().await;
        let watcher = tokio::spawn(watcher.run()).abort_handle();
        Ok(Self { view, health, stop, task, watcher })
    }

    /// The live generation of a read model; nothing if there is none, or none that this build can run.
    pub fn live(&self, read_model: &str) -> Option<LiveReadModel> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).live.get(read_model).cloned()
    }

    /// Whether another generation serves instead of this one now. To be asked behind a look at its rows: it moves on by
    /// itself, and shows more since than the one that serves, so that the next look would show less.
    pub fn is_replaced(&self, generation: &Generation) -> bool {
        self.live(&generation.read_model).is_some_and(|live| live.generation.id != generation.id)
    }

    /// All generations with their runners, by read model and number.
    pub fn statuses(&self) -> Vec<GenerationStatus> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let status = |shown: &Shown| GenerationStatus {
            generation: shown.generation.clone(),
            progress: shown.progress.as_ref().map(|progress| progress.borrow().clone()),
            problem: shown.problem.as_ref().map(ToString::to_string),
        };
        view.generations.iter().map(status).collect()
    }

    /// The read models that this process keeps current, or observes.
    pub fn names(&self) -> Vec<String> {
        self.health.borrow().iter().map(|health| health.read_model.clone()).collect()
    }

    /// How every read model is, as of at most a few seconds ago: the same for every kind of trouble, in every store.
    pub fn health(&self) -> Vec<Health> {
        self.health.borrow().clone()
    }

    /// Ends all runners and returns when they have ended.
    pub async fn stop(mut self) {
        // Ends its receiver: the task has nothing else to wait for.
        drop(std::mem::replace(&mut self.stop, oneshot::channel().0));
        let _ = (&mut self.task).await;
    }
}

/// The newest version of each read model.
fn newest(models: &[Arc<ReadModel>]) -> BTreeMap<String, Arc<ReadModel>> {
    let mut newest: BTreeMap<String, Arc<ReadModel>> = BTreeMap::new();
    for model in models {
        let known = newest.entry(model.name().to_owned()).or_insert_with(|| model.clone());
        if model.version() > known.version() {
            *known = model.clone();
        }
    }
    newest
}

/// What a process does about its read models.
enum Role {
    /// Keeps them current from this log.
    Runs(Arc<dyn EventLog>),
    /// Looks at what others have stored.
    Observes,
}

/// How a generation is followed.
#[derive(Debug)]
enum Follower {
    Runner(RunnerHandle),
    Observer(Observer),
}

impl Follower {
    const fn progress(&self) -> &watch::Receiver<RunnerProgress> {
        match self {
            Self::Runner(runner) => &runner.progress,
            Self::Observer(observer) => &observer.progress,
        }
    }

    /// Stands still until the permit is dropped. Nothing for what other processes run: they notice a promotion themselves.
    async fn hold(&self) -> Option<OwnedSemaphorePermit> {
        match self {
            Self::Runner(runner) => runner.hold().await,
            Self::Observer(_) => None,
        }
    }

    async fn stop(self) {
        match self {
            Self::Runner(runner) => runner.stop().await,
            Self::Observer(observer) => drop(observer),
        }
    }
}

/// What follows a generation, and the row of the registry that it was started for.
#[derive(Debug)]
struct Kept {
    handle: Follower,
    read_model: Arc<ReadModel>,
    /// A generation that was begun anew has the same number and is another one.
    generation: Generation,
    /// When to start it again, if it stopped for a passing reason.
    restart_at: Option<Instant>,
}

impl Kept {
    /// As what serves queries.
    fn live(&self, generation: &Generation) -> LiveReadModel {
        LiveReadModel {
            generation: generation.clone(),
            read_model: self.read_model.clone(),
            progress: self.handle.progress().clone(),
            interest: match &self.handle {
                Follower::Runner(_) => None,
                Follower::Observer(observer) => Some(observer.interest.clone()),
            },
        }
    }
}

struct Supervisor {
    role: Role,
    store: Generations,
    names: Vec<String>,
    view: Arc<RwLock<View>>,
    runners: BTreeMap<(String, GenerationId), Kept>,
    /// Of each runner, for those that take its place.
    outages: BTreeMap<(String, GenerationId), Arc<Outages>>,
}

impl Supervisor {
    async fn run(mut self, mut changes: watch::Receiver<u64>, mut stopped: oneshot::Receiver<()>) {
        let unread = Outage::default();
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                changed = changes.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(Duration::from_millis(limits::RUNNER_RESTART_MS / 2)) => {}
            }
            match self.look().await {
                Ok(()) if unread.ends() => tracing::info!("registry of read models can be read again"),
                Err(error) if unread.begins() => {
                    tracing::warn!(%error, "registry of read models cannot be read, trying again");
                }
                Ok(()) | Err(_) => {}
            }
        }
        for (_, kept) in std::mem::take(&mut self.runners) {
            kept.handle.stop().await;
        }
    }

    /// Reads the registry and makes runners and view agree with it.
    async fn look(&mut self) -> Result<(), StoreError> {
        let mut generations = Vec::new();
        for name in &self.names {
            generations.extend(self.store.list(name).await?);
        }
        self.end_runners(&generations).await;
        let mut held = Vec::new();
        for generation in generations.iter().filter(|generation| generation.state == GenerationState::Live) {
            held.extend(self.hold_what_was_live(generation).await);
        }
        let mut view = View::default();
        for generation in generations {
            let problem = self.keep(&generation).await.err();
            let kept = self.runners.get(&(generation.read_model.clone(), generation.id));
            let progress = kept.map(|kept| kept.handle.progress().clone());
            if let (GenerationState::Live, Some(kept)) = (generation.state, kept) {
                view.live.insert(generation.read_model.clone(), kept.live(&generation));
            }
            view.generations.push(Shown { generation, progress, problem });
        }
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        drop(held);
        Ok(())
    }

    /// Before another generation serves: it must have reached what the one before has shown, and a retired generation
    /// keeps moving until this process notices the promotion. So that one is held still until the new one serves.
    async fn hold_what_was_live(&mut self, live: &Generation) -> Option<OwnedSemaphorePermit> {
        let shown = self.view.read().unwrap_or_else(PoisonError::into_inner).live.get(&live.read_model).cloned();
        let shown = shown.filter(|shown| shown.generation.id != live.id)?;
        let problem = self.keep(live).await.err();
        let runner = |id| self.runners.get(&(live.read_model.clone(), id));
        let Some(kept) = runner(live.id) else {
            tracing::warn!(generation = %live, ?problem, "promoted generation has no runner, reads may go back");
            return None;
        };
        let wait_max = Duration::from_millis(limits::SWITCH_WAIT_MS_MAX);
        let held = match runner(shown.generation.id) {
            Some(held) => tokio::time::timeout(wait_max, held.handle.hold()).await.ok().flatten(),
            None => None,
        };
        let reached = self.shown_position(&shown).await;
        if let Err(error) = kept.live(live).wait_for(&reached, wait_max).await {
            tracing::warn!(%error, "promoted generation has not reached the one before, reads may go back");
        }
        held
    }

    /// How far a generation's rows may have been seen: what is stored, where other processes write it.
    async fn shown_position(&self, shown: &LiveReadModel) -> PositionVector {
        match self.role {
            Role::Runs(_) => shown.positions(),
            Role::Observes => match self.store.checkpoints(&shown.generation).await {
                Ok(stored) => stored.positions(),
                // It may be removed already.
                Err(_) => shown.positions(),
            },
        }
    }

    /// Ends the runners of generations that are gone, and of those that stopped long enough ago to be tried again.
    async fn end_runners(&mut self, generations: &[Generation]) {
        let now = Instant::now();
        let is_kept = |kept: &mut Kept| {
            let same = |generation: &Generation| {
                generation.id == kept.generation.id
                    && generation.read_model == kept.generation.read_model
                    && generation.started_at == kept.generation.started_at
                    && generation.state.is_run()
            };
            let passing = kept.handle.progress().borrow().failure().is_some_and(RunnerFailure::is_transient);
            if passing && kept.restart_at.is_none() {
                kept.restart_at = Some(now + Duration::from_millis(limits::RUNNER_RESTART_MS));
            }
            generations.iter().any(same) && kept.restart_at.is_none_or(|at| now < at)
        };
        let ended: Vec<_> = self.runners.extract_if(.., |_, kept| !is_kept(kept)).collect();
        for (_, kept) in ended {
            kept.handle.stop().await;
        }
        let is_there = |(name, id): &(String, GenerationId)| {
            generations.iter().any(|generation| generation.id == *id && generation.read_model == *name)
        };
        self.outages.retain(|key, _| is_there(key));
    }

    /// Sees to it that a generation that must be current has a runner.
    async fn keep(&mut self, generation: &Generation) -> Result<(), StoreError> {
        let key = (generation.read_model.clone(), generation.id);
        if !generation.state.is_run() || self.runners.contains_key(&key) {
            return Ok(());
        }
        let (name, version) = (generation.read_model.clone(), generation.version);
        let read_model = self.store.read_model(&name, version);
        let read_model = read_model.ok_or(StoreError::UnknownVersion { read_model: name, version })?;
        let handle = match &self.role {
            Role::Runs(log) => {
                let sink = self.store.open(generation).await?;
                let outages =
                    self.outages.entry(key.clone()).or_insert_with(|| Outages::of(generation.to_string()).into());
                let (read_model, generation) = (read_model.clone(), generation.clone());
                Follower::Runner(start_again(log.clone(), read_model, generation, sink, Arc::clone(outages)))
            }
            Role::Observes => Follower::Observer(observe(self.store.clone(), generation.clone())),
        };
        self.runners.insert(key, Kept { handle, read_model, generation: generation.clone(), restart_at: None });
        Ok(())
    }
}
