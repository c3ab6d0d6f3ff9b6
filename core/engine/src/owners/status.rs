//! Does this process serve a partition, and what is whoever asks for it told if not?

use annals_model::position::{ClaimEpoch, ContextPartition};

use crate::command::{CommandError, ReadFailure};

/// Whether this process serves a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionState {
    /// Taking ownership and folding the log.
    Claiming,
    /// Owner, with current state.
    Serving {
        /// The claim that it is owned by.
        claim_epoch: ClaimEpoch,
    },
    /// Another process claimed it.
    NotOwner,
    /// Its log is damaged; nothing is served from it until an operator has looked.
    Stopped {
        /// Why.
        cause: String,
    },
}

impl PartitionState {
    pub(super) fn command_error(&self, at: ContextPartition) -> CommandError {
        match self {
            Self::Stopped { cause } => CommandError::Stopped { at, cause: cause.clone() },
            Self::Claiming | Self::Serving { .. } | Self::NotOwner => CommandError::NotOwner(at),
        }
    }
    pub(super) fn read_failure(&self, at: ContextPartition) -> ReadFailure {
        match self {
            Self::Stopped { cause } => ReadFailure::Stopped { at, cause: cause.clone() },
            Self::Claiming | Self::Serving { .. } | Self::NotOwner => ReadFailure::NotOwner(at),
        }
    }
}

/// One partition and whether this process serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The partition.
    pub at: ContextPartition,
    /// Its state.
    pub state: PartitionState,
}
