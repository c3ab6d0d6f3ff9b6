//! How do rows follow the log? A runner per generation reads, routes, loads, applies and commits, batch by batch; the
//! supervisor [`ReadModels`] keeps one for every generation that must be current.
//!
//! Several runners may work on one generation, also in several processes: each commit names the checkpoint that it goes
//! on from, so nothing is applied twice, whoever comes first.

mod health;
mod observer;
mod progress;
mod source;
mod supervisor;
mod tries;
mod view;
mod work;

use std::sync::Arc;

use annals_model::position::{ContextPartition, Offset, PositionVector};
use annals_model::projection::{KeyRange, ReadModel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

pub use self::health::{Health, Trouble};
pub use self::progress::{RunnerFailure, RunnerProgress, RunnerState};
pub use self::supervisor::ReadModels;
use self::tries::Outages;
pub use self::view::{GenerationStatus, LiveReadModel, WaitError};
use self::work::Work;
use crate::log::{EventLog, ReadError};
use crate::sink::{Checkpoints, Generation, Sink};
use crate::telemetry::RunnerMeters;

/// A runner at work. Dropping it ends it too, at any point: every commit is atomic.
#[derive(Debug)]
pub struct RunnerHandle {
    /// The generation that it keeps current.
    pub generation: Generation,
    /// How far it has come, and how it is.
    pub progress: watch::Receiver<RunnerProgress>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// One permit: a turn of the runner, or a hold.
    turns: Arc<Semaphore>,
}

impl RunnerHandle {
    /// Waits for the turn that is under way, and lets no other begin until the guard is dropped: rows and progress stand
    /// still meanwhile.
    pub(crate) async fn hold(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Ends the runner and returns when it has ended.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        // Handlers' panics are caught; any other one ended it as well.
        let _ = self.task.await;
    }
}

/// Starts a runner for a generation. Needs a Tokio runtime.
pub fn start(
    log: Arc<dyn EventLog>,
    read_model: Arc<ReadModel>,
    generation: Generation,
    sink: Box<dyn Sink>,
) -> RunnerHandle {
    let outages = Arc::new(Outages::of(generation.to_string()));
    start_again(log, read_model, generation, sink, outages)
}

/// The same where one ran before, which said of some outages that they are there.
fn start_again(
    log: Arc<dyn EventLog>,
    read_model: Arc<ReadModel>,
    generation: Generation,
    mut sink: Box<dyn Sink>,
    outages: Arc<Outages>,
) -> RunnerHandle {
    let (publish, progress) = watch::channel(RunnerProgress::new(log.id()));
    let (stop, mut stopped) = oneshot::channel();
    let label = generation.to_string();
    let turns = Arc::new(Semaphore::new(1));
    let own_turns = Arc::clone(&turns);
    let meters = RunnerMeters::of(&generation);
    let task = tokio::spawn(async move {
        let work = Work::new(&*log, &read_model, sink.as_mut(), &publish, &own_turns, &meters, &outages).run(None);
        let ended = tokio::select! {
            biased;
            _ = &mut stopped => return publish.send_modify(|progress| progress.state = RunnerState::Ended),
            ended = work => ended,
        };
        let state = match ended {
            // Without an end to reach it never ends well.
            Ok(()) => RunnerState::Ended,
            Err(failure) => {
                meters.stops.increment(1);
                // What is started again by itself needs nobody to look, and was said when it began.
                if failure.is_transient() {
                    tracing::debug!(generation = %label, error = %failure, "read model pauses");
                } else {
                    tracing::error!(generation = %label, error = %failure, "read model stopped");
                }
                RunnerState::Stopped(failure)
            }
        };
        publish.send_modify(|progress| progress.state = state);
    });
    RunnerHandle { generation, progress, stop, task, turns }
}

/// Brings a generation to `until` and returns where it stands. Ends early with what stops a runner.
pub async fn catch_up(
    log: &dyn EventLog,
    read_model: &ReadModel,
    sink: &mut dyn Sink,
    until: &PositionVector,
) -> Result<Checkpoints, RunnerFailure> {
    let (publish, progress) = watch::channel(RunnerProgress::new(log.id()));
    let turns = Semaphore::new(1);
    let outages = Outages::of(format!("{} v{}", read_model.name(), read_model.version()));
    Work::new(log, read_model, sink, &publish, &turns, &RunnerMeters::none(), &outages).run(Some(until)).await?;
    let reached = progress.borrow().checkpoints.clone();
    Ok(reached)
}

/// Where the log ends now, in all partitions that a read model reads: what [`catch_up`] may be told to reach.
pub async fn ends(log: &dyn EventLog, read_model: &ReadModel) -> Result<PositionVector, ReadError> {
    let mut ends = PositionVector::default();
    for at in partitions(log, read_model) {
        let end = log.end(at).await?;
        if end > Offset::START {
            ends.advance(at, end);
        }
    }
    Ok(ends)
}

/// All partitions whose events a read model may want.
fn partitions(log: &dyn EventLog, read_model: &ReadModel) -> Vec<ContextPartition> {
    let contexts = read_model.contexts().into_iter();
    contexts
        .flat_map(|context| {
            (0..log.partitions(context))
                .map(move |number| ContextPartition { context, partition: annals_model::ids::Partition(number) })
        })
        .collect()
}

/// Runners hold the rows of one batch at a time, of all keys.
const ALL_KEYS: KeyRange = KeyRange::ALL;

#[cfg(test)]
mod tests;
