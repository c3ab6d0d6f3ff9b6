//! What a runner tries again, and what it says of that: once for as long as it lasts, however often it is started anew.

#[cfg(feature = "seeded-bugs")]
mod mistakes;

use std::time::Duration;

use tokio::sync::watch;

use super::progress::{RunnerFailure, RunnerProgress, RunnerState};
use crate::limits;
use crate::log::ReadError;
use crate::outage::Outage;
use crate::sink::SinkError;
use crate::telemetry::RunnerMeters;

/// Which operations of a runner fail, so far as it was said. Each ends by its own success: a sink whose rows can be read
/// and not written is said to be down once.
#[derive(Debug, Default)]
pub(super) struct Outages {
    label: String,
    pub(super) checkpoints: Outage,
    pub(super) follow: Outage,
    pub(super) read: Outage,
    pub(super) load: Outage,
    pub(super) commit: Outage,
}

impl Outages {
    pub(super) fn of(label: String) -> Self {
        Self { label, ..Self::default() }
    }

    /// An operation succeeded.
    pub(super) fn end(&self, operation: &Outage) {
        if operation.ends() {
            tracing::info!(read_model = self.label, "read model waits no longer");
        }
    }
}

/// Who hears of a failure.
#[derive(Clone, Copy)]
pub(super) struct Telling<'a> {
    pub(super) progress: &'a watch::Sender<RunnerProgress>,
    pub(super) meters: &'a RunnerMeters,
    pub(super) outages: &'a Outages,
}

/// Tries of one operation.
#[derive(Default)]
pub(super) struct Tries {
    made: u32,
}

/// What may be tried again.
pub(super) trait MayBeTransient: Into<RunnerFailure> + std::fmt::Display {
    fn is_transient(&self) -> bool;
}
impl MayBeTransient for SinkError {
    fn is_transient(&self) -> bool {
        SinkError::is_transient(self)
    }
}
impl MayBeTransient for ReadError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl Tries {
    /// Tells of the failure and waits; gives the failure back where trying again is of no use, or was tried enough.
    pub(super) async fn again(
        &mut self,
        Telling { progress, meters, outages }: Telling<'_>,
        operation: &Outage,
        error: impl MayBeTransient,
    ) -> Result<(), RunnerFailure> {
        self.made += 1;
        if !error.is_transient() || self.made >= limits::RUNNER_ATTEMPTS_MAX {
            return Err(error.into());
        }
        #[cfg(feature = "seeded-bugs")]
        mistakes::give_up().await;
        let (attempts, cause) = (self.made, error.to_string());
        meters.retries.increment(1);
        if operation.begins() {
            tracing::warn!(read_model = outages.label, %cause, "read model waits for its sink or log");
        }
        progress.send_modify(|progress| progress.state = RunnerState::Retrying { attempts, cause });
        let pause = limits::RUNNER_BACKOFF_MS_MIN << (self.made - 1).min(16);
        tokio::time::sleep(Duration::from_millis(pause.min(limits::RUNNER_BACKOFF_MS_MAX))).await;
        Ok(())
    }
}
