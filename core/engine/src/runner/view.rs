//! What is seen of a process's read models: which generation is live, and how far each has come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_model::position::PositionVector;
use annals_model::projection::ReadModel;
use tokio::sync::watch;

use super::observer::Interest;
use super::progress::{RunnerFailure, RunnerProgress};
use crate::sink::{Generation, StoreError};

/// What queries and status see.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) live: BTreeMap<String, LiveReadModel>,
    pub(super) generations: Vec<Shown>,
}

#[derive(Debug)]
pub(super) struct Shown {
    pub(super) generation: Generation,
    pub(super) progress: Option<watch::Receiver<RunnerProgress>>,
    pub(super) problem: Option<StoreError>,
}

/// The generation of a read model that serves queries. Hold it for the whole of one answer: rows of two generations are
/// never mixed then, whatever is promoted meanwhile.
#[derive(Clone, Debug)]
pub struct LiveReadModel {
    /// The generation; its version decides what columns there are.
    pub generation: Generation,
    /// Its definition.
    pub read_model: Arc<ReadModel>,
    /// Its runner's progress; where other processes run it, what they have stored.
    pub progress: watch::Receiver<RunnerProgress>,
    /// Tells whoever looks at what is stored that somebody waits.
    pub(super) interest: Option<Arc<Interest>>,
}

/// One generation and its runner.
#[derive(Clone, Debug)]
pub struct GenerationStatus {
    /// As the registry knows it.
    pub generation: Generation,
    /// Its runner's progress, where it has one in this process.
    pub progress: Option<RunnerProgress>,
    /// Why it has none although it should.
    pub problem: Option<String>,
}

/// Why a wait for a position ended without it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WaitError {
    /// Not reached in time: answer that the read model lags, and ask again later.
    #[error("{generation} did not reach the position in {waited_ms} ms")]
    Lags {
        /// Which generation.
        generation: String,
        /// How long it was waited for, milliseconds.
        waited_ms: u64,
        /// Where it stands.
        progress: Box<RunnerProgress>,
    },
    /// The runner stopped: it will not be reached before somebody helps.
    #[error("{generation} stopped: {failure}")]
    Stopped {
        /// Which generation.
        generation: String,
        /// Why.
        failure: RunnerFailure,
    },
}

impl LiveReadModel {
    /// Where the rows stand now.
    pub fn positions(&self) -> PositionVector {
        self.progress.borrow().positions.clone()
    }

    /// Waits until the rows stand for `wanted`, of the contexts that this read model reads; returns where they stand.
    pub async fn wait_for(&self, wanted: &PositionVector, wait_max: Duration) -> Result<PositionVector, WaitError> {
        let contexts = self.read_model.contexts();
        let subscribed = |number: u8| contexts.iter().any(|context| context.number == number);
        let _waiting = self.interest.as_ref().map(|interest| interest.wait());
        let mut progress = self.progress.clone();
        let reached = |progress: &RunnerProgress| progress.positions.covers(wanted, subscribed);
        let settled = |progress: &RunnerProgress| reached(progress) || progress.failure().is_some();
        let waited = tokio::time::timeout(wait_max, progress.wait_for(settled)).await;
        drop(waited);
        let progress = self.progress.borrow();
        if reached(&progress) {
            return Ok(progress.positions.clone());
        }
        let generation = self.generation.to_string();
        Err(match progress.failure() {
            Some(failure) => WaitError::Stopped { generation, failure: failure.clone() },
            None => {
                let waited_ms = u64::try_from(wait_max.as_millis()).unwrap_or(u64::MAX);
                WaitError::Lags { generation, waited_ms, progress: Box::new(progress.clone()) }
            }
        })
    }
}
