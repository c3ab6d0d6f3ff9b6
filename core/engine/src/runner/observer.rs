//! Follows a generation that other processes keep current, by what is stored of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals_model::ids::LogId;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::progress::{RunnerProgress, RunnerState};
use crate::generations::Generations;
use crate::limits;
use crate::sink::{Checkpoints, Generation, SinkError, StoreError};

/// Whether somebody waits for what is stored next.
#[derive(Debug, Default)]
pub(super) struct Interest {
    waiting: AtomicUsize,
    begun: Notify,
}

/// Somebody waits until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Interest>);

impl Interest {
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        Waiting(Arc::clone(self))
    }

    fn is_there(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Looks at one generation's stored checkpoints until it is dropped: often while somebody waits for them, seldom
/// otherwise.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) progress: watch::Receiver<RunnerProgress>,
    pub(super) interest: Arc<Interest>,
    task: JoinHandle<()>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn observe(store: Generations, generation: Generation) -> Observer {
    let log_id = store.log_id();
    let (publish, progress) = watch::channel(RunnerProgress::new(log_id));
    let interest = Arc::<Interest>::default();
    let own = Arc::clone(&interest);
    let task = tokio::spawn(async move {
        let mut failed = 0;
        loop {
            let stored = store.checkpoints(&generation).await;
            if stored.is_ok() && failed > 0 {
                tracing::info!(%generation, "checkpoints can be read again");
            }
            failed = if stored.is_ok() { 0 } else { failed + 1 };
            show(&publish, &generation, log_id, stored, failed);
            let pause = match own.is_there() {
                _ if failed > 0 => (limits::RUNNER_BACKOFF_MS_MIN << failed.min(16)).min(limits::RUNNER_BACKOFF_MS_MAX),
                true => limits::OBSERVE_WAITED_MS,
                false => limits::OBSERVE_IDLE_MS,
            };
            let pause = tokio::time::sleep(Duration::from_millis(pause));
            if failed > 0 {
                pause.await;
            } else {
                tokio::select! { () = pause => {}, () = own.begun.notified() => {} }
            }
        }
    });
    Observer { progress, interest, task }
}

fn show(
    publish: &watch::Sender<RunnerProgress>,
    generation: &Generation,
    log: LogId,
    stored: Result<Checkpoints, StoreError>,
    failed: u32,
) {
    let next = match stored {
        Ok(stored) if stored.log_id() != log => {
            let error = SinkError::OtherLog { generation: generation.to_string(), found: stored.log_id(), log };
            return publish.send_modify(|progress| progress.state = RunnerState::Stopped(error.into()));
        }
        Ok(stored) => stored,
        Err(error) => {
            let cause = error.to_string();
            if failed == 1 {
                tracing::warn!(%generation, %cause, "checkpoints cannot be read, trying again");
            }
            return publish.send_modify(|progress| progress.state = RunnerState::Retrying { attempts: failed, cause });
        }
    };
    publish.send_if_modified(|progress| {
        let moved = progress.checkpoints != next || !matches!(progress.state, RunnerState::Observed);
        if moved {
            progress.positions = next.positions();
            progress.checkpoints = next;
            progress.state = RunnerState::Observed;
        }
        moved
    });
}
