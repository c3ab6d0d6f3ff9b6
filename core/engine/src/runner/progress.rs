//! How far a runner has come, how it is, and why it stopped.

use annals_model::ids::LogId;
use annals_model::position::{Checkpoint, ContextPartition, PositionVector, RecordOffset};
use annals_model::projection::ApplyFailure;
use annals_model::time::Timestamp;

use crate::log::ReadError;
use crate::sink::{Checkpoints, SinkError, StoreError};

/// What a runner tells of itself, after every commit.
#[derive(Clone, Debug)]
pub struct RunnerProgress {
    /// What the generation's rows stand for.
    pub checkpoints: Checkpoints,
    /// The offsets of these checkpoints.
    pub positions: PositionVector,
    /// How the runner is.
    pub state: RunnerState,
    /// Partitions of which it has seen records that are not committed yet.
    behind: Vec<ContextPartition>,
}

/// How a runner is.
#[derive(Clone, Debug)]
pub enum RunnerState {
    /// It has not read its checkpoints yet.
    Starting,
    /// At work, or waiting for events.
    Running,
    /// Other processes run the generation; this one looks at what they have stored.
    Observed,
    /// Something is down; it tries again.
    Retrying {
        /// Tries so far.
        attempts: u32,
        /// Why the last one failed.
        cause: String,
    },
    /// It needs help, or a pause; its generation keeps what it has.
    Stopped(RunnerFailure),
    /// It was told to end.
    Ended,
}

/// Why a runner stopped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunnerFailure {
    /// An event cannot be applied; everything before it is in. Correct the handlers and rebuild under a new version.
    #[error("{at}: {failure}")]
    Apply {
        /// The partition.
        at: ContextPartition,
        /// Which event, which row, and why.
        failure: Box<ApplyFailure>,
    },
    /// The sink failed, for good or for too long: what it says applies.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The generation could not be opened: what it says applies.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be read, for good or for too long: what it says applies.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A handler panicked; everything before the event is in. Correct it and rebuild under a new version.
    #[error("{at}: a handler panicked at offset {offset}: {text}")]
    Panicked {
        /// The partition.
        at: ContextPartition,
        /// Where the event lies.
        offset: RecordOffset,
        /// What the panic said.
        text: String,
    },
    /// Code of the read model panicked while rows were written, none of which is in: a rollup. Correct it and rebuild
    /// under a new version.
    #[error("the read model's code panicked while its rows were written: {text}")]
    Crashed {
        /// What the panic said.
        text: String,
    },
}

impl RunnerFailure {
    /// True if the same runner may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Sink(SinkError::Unavailable { .. })
                | Self::Log(ReadError::Unavailable(_))
                | Self::Store(StoreError::Unavailable(_) | StoreError::Sink(SinkError::Unavailable { .. }))
        )
    }
}

impl RunnerProgress {
    pub(super) fn new(log_id: LogId) -> Self {
        Self {
            checkpoints: Checkpoints::start(log_id),
            positions: PositionVector::default(),
            state: RunnerState::Starting,
            behind: Vec::new(),
        }
    }

    pub(super) fn committed(&mut self, at: ContextPartition, to: Checkpoint) {
        let goes_back = to.offset < self.checkpoints.get(at).offset;
        self.checkpoints.set(at, to);
        match goes_back {
            false => self.positions.advance(at, to.offset),
            // A store that went back is told of: who waits for a position must not believe in what is gone.
            true => self.positions = self.checkpoints.positions(),
        }
    }

    pub(super) fn is_behind(&mut self, at: ContextPartition, behind: bool) {
        self.behind.retain(|other| *other != at);
        if behind {
            self.behind.push(at);
        }
    }

    /// True if there are records that it has seen and not committed yet.
    pub fn has_lag(&self) -> bool {
        !self.behind.is_empty()
    }

    /// How old the newest event is that the rows show, in the partition that is furthest behind, microseconds; 0 where
    /// nothing is known to be missing. `now` is by the clock that events are emitted by.
    pub fn lag_us(&self, now: Timestamp) -> u64 {
        let shown = self.behind.iter().map(|at| self.checkpoints.get(*at).emitted_at).min();
        shown.map_or(0, |shown| u64::try_from(now.0.saturating_sub(shown.0)).unwrap_or_default())
    }

    /// Why the runner stopped, if it did.
    pub const fn failure(&self) -> Option<&RunnerFailure> {
        match &self.state {
            RunnerState::Stopped(failure) => Some(failure),
            RunnerState::Starting
            | RunnerState::Running
            | RunnerState::Observed
            | RunnerState::Retrying { .. }
            | RunnerState::Ended => None,
        }
    }
}
