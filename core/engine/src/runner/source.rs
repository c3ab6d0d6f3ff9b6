//! One partition as a runner reads it.

use std::time::Duration;

use annals_model::position::{Checkpoint, ContextPartition};

use crate::limits;
use crate::log::checked::CheckedReader;
use crate::log::{BoxFuture, ReadError};

/// A partition, its reader, and where the generation stands in it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) at: ContextPartition,
    pub(super) reader: CheckedReader,
    /// The stored checkpoint, as far as this runner knows.
    pub(super) committed: Checkpoint,
    /// How long to stand back when another instance was faster again.
    pub(super) stand_back: Duration,
}

/// What a partition has to say.
#[derive(Debug)]
pub(super) enum Woken {
    /// There may be records.
    Ready(Source),
    /// The time to stand back is over.
    StoodBack(Source),
    /// The log failed.
    Failed(Source, ReadError),
}

impl Source {
    pub(super) fn new(at: ContextPartition, reader: CheckedReader, committed: Checkpoint) -> Self {
        Self { at, reader, committed, stand_back: FIRST_STAND_BACK }
    }

    /// Waits for records.
    pub(super) fn wait(mut self) -> BoxFuture<'static, Woken> {
        Box::pin(async move {
            match self.reader.wait().await {
                Ok(()) => Woken::Ready(self),
                Err(error) => Woken::Failed(self, error),
            }
        })
    }

    /// Lets another instance go ahead, each time for longer.
    pub(super) fn stand_back(mut self) -> BoxFuture<'static, Woken> {
        let pause = self.stand_back;
        self.stand_back = (pause * 2).min(Duration::from_millis(limits::RUNNER_STAND_BACK_MS_MAX));
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            Woken::StoodBack(self)
        })
    }

    /// The generation was found or brought here by this runner.
    pub(super) fn went_on(&mut self, to: Checkpoint) {
        self.committed = to;
        self.stand_back = FIRST_STAND_BACK;
    }
}

const FIRST_STAND_BACK: Duration = Duration::from_millis(limits::RUNNER_STAND_BACK_MS_MIN);
