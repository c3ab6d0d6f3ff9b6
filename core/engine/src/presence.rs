//! Which processes are there? Each tells of itself, in the store of read models that all of a deployment share: who it is,
//! what it keeps current and owns, and which read models it finds in trouble. Who is not heard of any more is gone, or hangs.

use std::sync::Arc;
use std::time::Duration;

use annals_model::position::ContextPartition;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::generations::Generations;
use crate::limits;
use crate::outage::Outage;
use crate::owners::{EngineHandle, PartitionState};
use crate::runner::ReadModels;
use crate::sink::{ProcessReport, ProcessTrouble, StoreError};

/// A process that tells of itself. Dropping it ends that, and the process is lost after a while.
#[derive(Debug)]
pub struct Presence {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Presence {
    /// Tells of this process, every [`limits::PROCESS_TELLS_MS`]: as `who` says, with what it owns and finds now.
    pub fn start(
        store: Generations,
        who: ProcessReport,
        engine: Option<EngineHandle>,
        read_models: Arc<ReadModels>,
    ) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut who, untold) = (who, Outage::default());
            loop {
                who.owns = engine.as_ref().map(owned).unwrap_or_default();
                who.troubles = troubles(&read_models);
                match bounded(store.registry().tell_of_process(&who)).await {
                    Ok(()) if untold.ends() => tracing::info!("this process can tell again that it lives"),
                    Err(error) if untold.begins() => {
                        tracing::warn!(%error, "this process cannot tell that it lives, trying again");
                    }
                    Ok(()) | Err(_) => {}
                }
                tokio::select! {
                    _ = &mut stopped => break,
                    () = tokio::time::sleep(Duration::from_millis(limits::PROCESS_TELLS_MS)) => {}
                }
            }
            // Where the store does not answer it is forgotten later.
            drop(bounded(store.registry().forget_process(&who.id)).await);
        });
        Self { stop, task }
    }

    /// Tells that this process ended in good order, and returns when that is told.
    pub async fn end(self) {
        drop(self.stop);
        // It has nothing to panic for; were it gone, there would be nothing to wait for.
        let _ = self.task.await;
    }
}

async fn bounded<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let limit = Duration::from_millis(limits::HEALTH_QUESTION_MS_MAX);
    let late = |_| StoreError::Unavailable(format!("no answer within {limit:?}"));
    tokio::time::timeout(limit, answer).await.map_err(late)?
}

fn troubles(read_models: &ReadModels) -> Vec<ProcessTrouble> {
    let told = read_models.health().into_iter().filter_map(|health| Some((health.read_model, health.trouble?)));
    told.map(|(read_model, trouble)| ProcessTrouble {
        read_model,
        cause: trouble.cause.chars().take(limits::TROUBLE_CHARS_MAX).collect(),
        passes: trouble.passes,
    })
    .collect()
}

/// The partitions that are served here.
fn owned(engine: &EngineHandle) -> Vec<String> {
    let partitions = engine.partitions();
    let served = partitions.iter().filter(|status| matches!(status.state, PartitionState::Serving { .. }));
    ranges(served.map(|status| status.at))
}

/// Partitions in order, those that follow each other together: `orders/0-3`.
fn ranges(partitions: impl Iterator<Item = ContextPartition>) -> Vec<String> {
    let mut runs: Vec<(ContextPartition, u16)> = Vec::new();
    for at in partitions {
        match runs.last_mut() {
            Some((first, last)) if first.context == at.context && last.checked_add(1) == Some(at.partition.0) => {
                *last = at.partition.0;
            }
            _ => runs.push((at, at.partition.0)),
        }
    }
    let text = |(first, last): (ContextPartition, u16)| match first.partition.0 == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use annals_model::ids::{ContextId, Partition};

    use super::*;

    const ONE: ContextId = ContextId { number: 1, name: "one" };
    const TWO: ContextId = ContextId { number: 2, name: "two" };

    #[test]
    fn partitions_that_follow_each_other_are_told_together() {
        let at = |(context, number)| ContextPartition { context, partition: Partition(number) };
        let told = |partitions: &[(ContextId, u16)]| ranges(partitions.iter().copied().map(at));
        assert_eq!(told(&[]), [""; 0]);
        assert_eq!(told(&[(ONE, 0), (ONE, 1), (ONE, 2), (TWO, 3)]), ["one/0-2", "two/3"]);
        assert_eq!(told(&[(ONE, 1), (ONE, 3), (ONE, 4), (TWO, 5)]), ["one/1", "one/3-4", "two/5"]);
    }
}
