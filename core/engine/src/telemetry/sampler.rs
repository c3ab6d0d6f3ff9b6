//! Measures, again and again, what no loop can tell of itself: how far generations are behind the log, which partitions
//! are served. A runner that hangs, or a sink that is down, is seen here, because nothing of theirs is asked but the
//! checkpoint that was last known.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_model::ids::{ContextId, Partition};
use annals_model::position::{Checkpoint, ContextPartition, Ordinal};
use annals_model::time::Timestamp;
use metrics::{Label, gauge};

use super::{
    LAG_EVENTS, LAG_MEASURED, LAG_SECONDS, PARTITION_SERVING, PARTITION_STOPPED, READ_MODEL_TROUBLE, RUNNER_STOPPED,
};
use crate::generations::Generations;
use crate::lag::{Lag, LastOrdinals, first_behind};
use crate::limits;
use crate::log::EventLog;
use crate::owners::{EngineHandle, PartitionState, system_now};
use crate::runner::{GenerationStatus, ReadModels};

/// Samples a process's read models, and its partitions if it owns any.
#[derive(Debug)]
pub struct Sampler {
    log: Arc<dyn EventLog>,
    store: Generations,
    read_models: Arc<ReadModels>,
    engine: Option<EngineHandle>,
    last: LastOrdinals,
    /// When the first record behind a checkpoint was written: it is read once per checkpoint, not once per look.
    oldest: HashMap<Place, Behind>,
    /// Places whose gauges stand for something: set to 0 when their generation goes.
    shown: Vec<Place>,
}

/// A checkpoint that is behind the log.
#[derive(Clone, Copy, Debug)]
struct Behind {
    checkpoint: Checkpoint,
    /// When the first record behind it was written, by its owner's clock.
    oldest: Timestamp,
    /// When it was first seen to be behind.
    since: Instant,
}

impl Behind {
    /// The age of the oldest record. Whatever its time says, it is there for as long as it is seen: a record of a clock that
    /// was ahead would have no age at all.
    fn age(&self) -> Duration {
        Lag { events: 0, oldest: Some(self.oldest) }.age(system_now()).max(self.since.elapsed())
    }
}

/// One generation in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    read_model: String,
    generation: u32,
    at: ContextPartition,
}

impl Place {
    fn labels(&self) -> Vec<Label> {
        vec![
            Label::new("read_model", self.read_model.clone()),
            Label::new("generation", self.generation.to_string()),
            Label::new("context", self.at.context.name),
            Label::new("partition", self.at.partition.to_string()),
        ]
    }
}

impl Sampler {
    /// Of a process that runs or observes read models; `engine` where it owns partitions as well.
    pub fn new(
        log: Arc<dyn EventLog>,
        store: Generations,
        read_models: Arc<ReadModels>,
        engine: Option<EngineHandle>,
    ) -> Self {
        Self {
            log,
            store,
            read_models,
            engine,
            last: LastOrdinals::default(),
            oldest: HashMap::new(),
            shown: Vec::new(),
        }
    }

    /// Samples for ever, every [`limits::TELEMETRY_SAMPLE_MS`]. Ends by being dropped.
    pub async fn run(mut self) {
        loop {
            self.sample().await;
            tokio::time::sleep(Duration::from_millis(limits::TELEMETRY_SAMPLE_MS)).await;
        }
    }

    /// Looks once and sets all gauges.
    pub async fn sample(&mut self) {
        self.sample_partitions();
        for health in self.read_models.health() {
            let trouble = if health.trouble.is_some() { 1.0 } else { 0.0 };
            gauge!(READ_MODEL_TROUBLE, "read_model" => health.read_model).set(trouble);
        }
        let mut statuses = self.read_models.statuses();
        statuses.retain(|status| status.generation.state.is_run());
        let ordinals = self.ordinals(&statuses).await;
        let mut shown = Vec::new();
        let mut complete = true;
        for status in statuses {
            complete &= self.sample_generation(&status, &ordinals, &mut shown).await;
        }
        for gone in self.shown.iter().filter(|place| !shown.contains(place)) {
            gauge!(LAG_EVENTS, gone.labels()).set(0.0);
            gauge!(LAG_SECONDS, gone.labels()).set(0.0);
        }
        self.oldest.retain(|place, _| shown.contains(place));
        self.shown = shown;
        if complete {
            gauge!(LAG_MEASURED).set(system_now().0 as f64 / 1e6);
        }
    }

    fn sample_partitions(&self) {
        let Some(engine) = &self.engine else { return };
        for partition in engine.partitions() {
            let labels =
                [("context", partition.at.context.name.to_owned()), ("partition", partition.at.partition.to_string())];
            let is = |truth: bool| if truth { 1.0 } else { 0.0 };
            gauge!(PARTITION_SERVING, &labels).set(is(matches!(partition.state, PartitionState::Serving { .. })));
            gauge!(PARTITION_STOPPED, &labels).set(is(matches!(partition.state, PartitionState::Stopped { .. })));
        }
    }

    /// Ordinal of the last record of every partition that somebody reads; those that the log does not tell are missing.
    async fn ordinals(&mut self, statuses: &[GenerationStatus]) -> HashMap<ContextPartition, Ordinal> {
        let of =
            |status: &GenerationStatus| self.store.read_model(&status.generation.read_model, status.generation.version);
        let contexts: BTreeSet<ContextId> = statuses.iter().filter_map(of).flat_map(|model| model.contexts()).collect();
        let mut ordinals = HashMap::new();
        for context in contexts {
            for at in self.partitions(context) {
                // What one partition does not tell in time, the others will not: all together must not take long.
                let Some(Ok(ordinal)) = bounded(self.last.of(&*self.log, at)).await else { return ordinals };
                ordinals.insert(at, ordinal);
            }
        }
        ordinals
    }

    /// False where something could not be measured; what was measured before goes on to age.
    async fn sample_generation(
        &mut self,
        status: &GenerationStatus,
        ordinals: &HashMap<ContextPartition, Ordinal>,
        shown: &mut Vec<Place>,
    ) -> bool {
        let generation = &status.generation;
        let stopped = status.progress.as_ref().is_some_and(|progress| progress.failure().is_some());
        let labels = super::generation_labels(generation);
        gauge!(RUNNER_STOPPED, &labels).set(if stopped || status.problem.is_some() { 1.0 } else { 0.0 });
        let Some(read_model) = self.store.read_model(&generation.read_model, generation.version) else { return true };
        // A runner that stands by for another process knows less than what is stored.
        let stored = bounded(self.store.checkpoints(generation)).await.and_then(Result::ok);
        let known = status.progress.as_ref().map(|progress| &progress.checkpoints);
        let mut complete = true;
        let partitions: Vec<_> =
            read_model.contexts().into_iter().flat_map(|context| self.partitions(context)).collect();
        for at in partitions {
            let place = Place { read_model: generation.read_model.clone(), generation: generation.id.0, at };
            let checkpoint = stored.as_ref().or(known).map(|checkpoints| checkpoints.get(at));
            let measured = match (checkpoint, ordinals.get(&at)) {
                (Some(checkpoint), Some(last)) => self.lag(&place, checkpoint, *last).await,
                (None, _) | (_, None) => None,
            };
            complete &= measured.is_some();
            self.show(&place, measured);
            shown.push(place);
        }
        complete
    }

    fn partitions(&self, context: ContextId) -> Vec<ContextPartition> {
        (0..self.log.partitions(context))
            .map(|number| ContextPartition { context, partition: Partition(number) })
            .collect()
    }

    /// Records behind the checkpoint; nothing where the log does not say.
    async fn lag(&mut self, place: &Place, checkpoint: Checkpoint, last: Ordinal) -> Option<u64> {
        let events = last.0.saturating_sub(checkpoint.ordinal.0);
        let known = self.oldest.get(place).copied().filter(|known| known.checkpoint == checkpoint);
        let behind = match known {
            _ if events == 0 => None,
            Some(known) => Some(known),
            None => {
                let first = bounded(first_behind(&*self.log, place.at, checkpoint)).await.and_then(Result::ok)?;
                first.map(|oldest| Behind { checkpoint, oldest, since: Instant::now() })
            }
        };
        match behind {
            Some(behind) => _ = self.oldest.insert(place.clone(), behind),
            None => _ = self.oldest.remove(place),
        }
        Some(events)
    }

    fn show(&self, place: &Place, events: Option<u64>) {
        let labels = place.labels();
        if let Some(events) = events {
            gauge!(LAG_EVENTS, labels.clone()).set(events as f64);
        }
        // What was not taken in when somebody could last tell, is not younger now.
        let behind = self.oldest.get(place);
        if events.is_some() || behind.is_some() {
            gauge!(LAG_SECONDS, labels).set(behind.map_or(0.0, |behind| behind.age().as_secs_f64()));
        }
    }
}

/// A log or store that does not answer must not hold the other gauges up for long.
async fn bounded<T>(question: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(limits::TELEMETRY_QUESTION_MS_MAX), question).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_clock_that_was_ahead_grows_old_all_the_same() {
        let aged = |oldest: i64, seen: u64| {
            let since = Instant::now().checked_sub(Duration::from_secs(seen)).unwrap_or_else(Instant::now);
            Behind { checkpoint: Checkpoint::default(), oldest: Timestamp(system_now().0 + oldest * 1_000_000), since }
                .age()
                .as_secs()
        };
        assert_eq!(aged(365 * 24 * 3_600, 400), 400);
        assert_eq!(aged(-500, 400), 500);
        assert_eq!(aged(-5, 0), 5);
    }
}
