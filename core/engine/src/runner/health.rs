//! Can queries be answered from each read model, and does it come with the log? The store is asked anew, again and again: a
//! runner that waits for events does not notice that the rows are gone, and one that hangs tells nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use annals_model::ids::Partition;
use annals_model::position::ContextPartition;
use tokio::sync::watch;
use tokio::time::Instant;

use super::progress::{RunnerFailure, RunnerState};
use super::view::View;
use crate::generations::Generations;
use crate::lag::LastOrdinals;
use crate::limits;
use crate::log::{EventLog, ReadError};
use crate::sink::{Checkpoints, Generation, StoreError, false_checkpoint};

/// How the live generation of a read model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The read model.
    pub read_model: String,
    /// What is wrong; nothing where its rows can be read and move.
    pub trouble: Option<Trouble>,
}

/// What is wrong with a read model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In words, with the generation in it.
    pub cause: String,
    /// Something is down or in the way, and it goes on when that is over. Else only an operator helps.
    pub passes: bool,
    /// Its runner has said so in the process's log.
    said: bool,
}

impl Trouble {
    fn passing(cause: String) -> Self {
        Self { cause, passes: true, said: false }
    }

    fn lasting(cause: String) -> Self {
        Self { cause, passes: false, said: false }
    }

    fn of_store(error: &StoreError) -> Self {
        Self { cause: error.to_string(), passes: error.is_transient(), said: false }
    }
}

/// Since when a generation stands where it stands.
struct Still {
    generation: Generation,
    at: Checkpoints,
    since: Instant,
}

/// Looks at all read models of a process.
pub(super) struct Watcher {
    log: Arc<dyn EventLog>,
    store: Generations,
    names: Vec<String>,
    view: Arc<RwLock<View>>,
    still: BTreeMap<String, Still>,
    /// Since when no generation of these is live.
    missing: BTreeMap<String, Instant>,
    last: LastOrdinals,
    publish: watch::Sender<Vec<Health>>,
}

impl Watcher {
    /// What [`Self::look`] finds is told to `publish`.
    pub(super) fn new(
        log: Arc<dyn EventLog>,
        store: Generations,
        names: Vec<String>,
        view: Arc<RwLock<View>>,
        publish: watch::Sender<Vec<Health>>,
    ) -> Self {
        Self {
            log,
            store,
            names,
            view,
            still: BTreeMap::new(),
            missing: BTreeMap::new(),
            last: LastOrdinals::default(),
            publish,
        }
    }

    /// Looks for ever. Ends by being dropped.
    pub(super) async fn run(mut self) {
        loop {
            tokio::time::sleep(Duration::from_millis(limits::HEALTH_LOOK_MS)).await;
            self.look().await;
        }
    }

    /// Looks once, and says what is new.
    pub(super) async fn look(&mut self) {
        let mut all = Vec::new();
        for read_model in self.names.clone() {
            let trouble = self.trouble(&read_model).await;
            all.push(Health { read_model, trouble });
        }
        let before = self.publish.send_replace(all.clone());
        for health in all {
            let before = before.iter().find(|before| before.read_model == health.read_model);
            tell(&health, before.and_then(|before| before.trouble.as_ref()));
        }
    }

    async fn trouble(&mut self, name: &str) -> Option<Trouble> {
        let live = match bounded(self.store.live(name)).await {
            Some(Ok(Some(live))) => {
                self.missing.remove(name);
                live
            }
            Some(Ok(None)) => return Some(self.is_missing(name)),
            Some(Err(error)) => return Some(Trouble::of_store(&error)),
            None => return Some(Trouble::passing(format!("{name}: the registry of read models {}", silent()))),
        };
        if let Some(trouble) = self.of_runner(&live) {
            return Some(trouble);
        }
        match bounded(self.store.probe(&live)).await {
            Some(Ok(stored)) => self.stands_still(&live, stored).await,
            Some(Err(error)) => Some(Trouble::of_store(&error)),
            None => Some(Trouble::passing(format!("{live}: its store {}", silent()))),
        }
    }

    /// A new deployment has none until whoever runs its read models has made the first: that is no news, and asks nobody.
    fn is_missing(&mut self, name: &str) -> Trouble {
        let since = *self.missing.entry(name.to_owned()).or_insert_with(Instant::now);
        if since.elapsed() < Duration::from_millis(limits::HEALTH_STILL_MS) {
            let cause = format!("{name} has no live generation yet");
            return Trouble { cause, passes: true, said: true };
        }
        Trouble::lasting(format!("{name} has no live generation: rebuild and promote one"))
    }

    /// What whoever follows the generation in this process says.
    fn of_runner(&self, live: &Generation) -> Option<Trouble> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &Generation| known.id == live.id && known.read_model == live.read_model;
        let shown = view.generations.iter().find(|shown| is_it(&shown.generation))?;
        if let Some(problem) = &shown.problem {
            return Some(Trouble::of_store(problem));
        }
        match &shown.progress.as_ref()?.borrow().state {
            RunnerState::Stopped(failure) => {
                let cause = match failure {
                    RunnerFailure::Sink(_) | RunnerFailure::Store(_) => failure.to_string(),
                    _ => format!("{live}: {failure}"),
                };
                Some(Trouble { cause, passes: failure.is_transient(), said: true })
            }
            // It said so as well.
            RunnerState::Retrying { cause, .. } => Some(Trouble { cause: cause.clone(), passes: true, said: true }),
            RunnerState::Starting | RunnerState::Running | RunnerState::Observed | RunnerState::Ended => None,
        }
    }

    /// A generation that is behind and comes no nearer, whoever should see to that.
    async fn stands_still(&mut self, live: &Generation, stored: Checkpoints) -> Option<Trouble> {
        let name = &live.read_model;
        let known = self.still.get(name).filter(|still| still.generation == *live && still.at == stored);
        let since = known.map_or_else(Instant::now, |still| still.since);
        // A log that does not answer says nothing of a read model.
        let behind = match bounded(self.behind(live, &stored)).await?.ok()? {
            Ok(behind) => behind,
            Err(cause) => return Some(Trouble::lasting(format!("{live}: {cause}"))),
        };
        if behind == 0 {
            self.still.remove(name);
            return None;
        }
        self.still.insert(name.clone(), Still { generation: live.clone(), at: stored, since });
        if since.elapsed() < Duration::from_millis(limits::HEALTH_STILL_MS) {
            return None;
        }
        let keeper = bounded(self.store.registry().processes()).await.and_then(Result::ok).and_then(|processes| {
            let mut keepers = processes.into_iter().filter(|process| process.keeps(name));
            keepers
                .next()
                .map(|keeper| format!("{} {} should keep it current", keeper.report.kind.name(), keeper.report.id))
        });
        let keeper = keeper.unwrap_or_else(|| "no process keeps it current".to_owned());
        let events = if behind == 1 { "event" } else { "events" };
        Some(Trouble::passing(format!("{live} is {behind} {events} behind and does not move: {keeper}")))
    }

    /// Events that a generation has not seen; the inner error says why it cannot have seen what it says.
    async fn behind(&mut self, live: &Generation, stored: &Checkpoints) -> Result<Result<u64, String>, ReadError> {
        let Some(model) = self.store.read_model(&live.read_model, live.version) else { return Ok(Ok(0)) };
        let mut behind = 0;
        for context in model.contexts() {
            for partition in (0..self.log.partitions(context)).map(Partition) {
                let at = ContextPartition { context, partition };
                let last = self.last.of(&*self.log, at).await?;
                let seen = stored.get(at);
                // A log that grows is asked after the checkpoint. A runner that waits for events does not look at it.
                if seen.ordinal > last {
                    let beyond = || format!("it has seen event {} of {at}, beyond the log's end {last}", seen.ordinal);
                    return Ok(Err(false_checkpoint(&*self.log, at, seen).await?.unwrap_or_else(beyond)));
                }
                behind += last.0 - seen.ordinal.0;
            }
        }
        Ok(Ok(behind))
    }
}

/// Says what is new, once: an ERROR where a person must look.
fn tell(health: &Health, before: Option<&Trouble>) {
    let read_model = &health.read_model;
    match (before, &health.trouble) {
        (None, None) => {}
        (Some(_), None) => tracing::info!(read_model, "read model is well again"),
        (_, Some(now)) if now.said || before.is_some_and(|before| before.passes == now.passes) => {}
        (_, Some(Trouble { cause, passes: true, .. })) => tracing::warn!(read_model, cause, "read model is in trouble"),
        (_, Some(Trouble { cause, passes: false, .. })) => {
            tracing::error!(read_model, cause, "read model is in trouble");
        }
    }
}

fn silent() -> String {
    format!("does not answer within {} ms", limits::HEALTH_QUESTION_MS_MAX)
}

/// One read model's trouble must not hide the others'.
async fn bounded<T>(question: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(limits::HEALTH_QUESTION_MS_MAX), question).await.ok()
}
