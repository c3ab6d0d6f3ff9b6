//! What does a failure of log, store or fold mean to the caller? Its exit code, and what to do.

use annals_engine::generations::life::Refusal;
use annals_engine::log::ReadError;
use annals_engine::rebuild::fold::FoldError;
use annals_engine::sink::{SinkError, StoreError};
use annals_projectors::deployment::{OpenLogError, OpenStoreError};

use crate::exit::{Exit, Failure};

/// A log that cannot be read: damage is told apart from the environment.
pub(crate) fn read_failure(error: &ReadError) -> Failure {
    let exit = match error {
        ReadError::Unavailable(_) => Exit::Failed,
        ReadError::BeyondEnd { .. }
        | ReadError::Corrupt { .. }
        | ReadError::CorruptMeta(_)
        | ReadError::NotContiguous { .. } => Exit::Mismatch,
    };
    Failure::new(exit, error.to_string())
}

/// A failure of the registry or of a generation's files, with its exit code.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    let exit = match error {
        StoreError::Damaged(_) => Exit::Mismatch,
        StoreError::Refused(Refusal::NoSuchGeneration { .. }) | StoreError::UnknownVersion { .. } => Exit::Usage,
        StoreError::Refused(Refusal::WrongState { .. } | Refusal::ChangedMeanwhile { .. }) => Exit::Conflict,
        StoreError::Refused(Refusal::NoNumberLeft { .. }) => Exit::Failed,
        StoreError::Sink(error) => sink_exit(error),
        StoreError::Unavailable(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// What a sink's failure means to the caller.
pub(crate) fn sink_exit(error: &SinkError) -> Exit {
    match error {
        SinkError::Damaged { .. } => Exit::Mismatch,
        SinkError::Unavailable { .. }
        | SinkError::Refused { .. }
        | SinkError::Shape { .. }
        | SinkError::OtherLog { .. }
        | SinkError::State { .. } => Exit::Failed,
    }
}

/// A fold that ended early, with its exit code.
pub(crate) fn fold_failure(error: &FoldError, resume: &str) -> Failure {
    match error {
        FoldError::Cancelled => {
            Failure::new(Exit::Interrupted, "interrupted; the live generation is as it was").remedy(resume)
        }
        FoldError::Read(error) => read_failure(error),
        FoldError::NoSuchCheckpoint { .. } | FoldError::OtherLog { .. } => {
            Failure::new(Exit::Mismatch, error.to_string())
        }
        FoldError::Apply { .. } | FoldError::SharedRow { .. } | FoldError::Panicked { .. } => {
            Failure::new(Exit::Failed, error.to_string())
        }
    }
}

/// A log that cannot be opened: damage is told apart from the environment.
pub(crate) fn log_failure(error: &OpenLogError) -> Failure {
    let exit = if error.is_damage() { Exit::Mismatch } else { Exit::Usage };
    let failure = Failure::new(exit, error.to_string());
    if error.is_missing_file() { failure.remedy("`annals up` makes one") } else { failure }
}

/// Read models that cannot be opened.
pub(crate) fn open_store_failure(error: &OpenStoreError) -> Failure {
    if let OpenStoreError::Store(error) = error { store_failure(error) } else { Failure::usage(error.to_string()) }
}
