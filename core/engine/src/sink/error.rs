//! How an operation on a sink or on the store of generations ends when it does not succeed: one enum per operation.

use annals_model::ids::LogId;
use annals_model::position::{Checkpoint, ContextPartition};

use crate::generations::life::{NotPromoted, Refusal};
use crate::generations::{BehindComponent, GenerationId, GenerationState};

/// Why a sink could not do what was asked. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The store does not answer now (busy, full, I/O): try again with backoff, then stop.
    #[error("the store of {generation} cannot be used now: {cause}")]
    Unavailable {
        /// Which generation.
        generation: String,
        /// What the store said.
        cause: String,
    },
    /// The store refuses a row. Trying again cannot help: the read model's definition is wrong.
    #[error("{generation} refuses rows of table `{table}`: {cause}")]
    Refused {
        /// Which generation.
        generation: String,
        /// The table.
        table: String,
        /// What the store said.
        cause: String,
    },
    /// What is stored cannot be read as the read model's rows: build the generation again.
    #[error("{generation}{}: {cause}; rebuild the read model", in_table(table))]
    Damaged {
        /// Which generation.
        generation: String,
        /// The table; empty if it is the whole.
        table: String,
        /// What does not fit.
        cause: String,
    },
    /// Tables and definition differ: correct the read model's DDL or its rows, under a new version.
    #[error("{read_model} v{version}: {difference}")]
    Shape {
        /// The read model.
        read_model: String,
        /// Its version.
        version: u32,
        /// Which table or column, and how it differs.
        difference: String,
    },
    /// The generation stands for positions of another log: use that log, or promote a generation of this one.
    #[error("{generation} was built from log {found}, this is log {log}; see which of them is meant")]
    OtherLog {
        /// Which generation.
        generation: String,
        /// The log of its checkpoints.
        found: LogId,
        /// The log that is served here.
        log: LogId,
    },
    /// The generation is not in a state that allows this: a mistake of the caller.
    #[error("{generation} is {state}: {cause}")]
    State {
        /// Which generation.
        generation: String,
        /// Its state.
        state: GenerationState,
        /// What was asked.
        cause: String,
    },
}

impl SinkError {
    /// True if trying again may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

fn in_table(table: &str) -> String {
    if table.is_empty() { String::new() } else { format!(", table `{table}`") }
}

/// Why a commit changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The stored checkpoint is not `from`: forget the rows held in memory and go on from `found`.
    #[error("{at}: commit from offset {}, but the generation stands at {}", from.offset, found.offset)]
    Stale {
        /// The partition.
        at: ContextPartition,
        /// What the caller took for the stored checkpoint.
        from: Checkpoint,
        /// The stored checkpoint.
        found: Checkpoint,
    },
    /// The sink failed. Whether the batch is in may be unknown: the checkpoint tells.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Why the registry of generations could not answer or change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The registry does not answer now: try again with backoff.
    #[error("the registry of read models cannot be used now: {0}")]
    Unavailable(String),
    /// What the registry holds makes no sense: restore it, or remove all read models and let them be built again.
    #[error("the registry of read models is damaged: {0}")]
    Damaged(String),
    /// This build carries no such read model, or not in this version: use a build that does, or rebuild.
    #[error("this build does not carry {read_model} v{version}")]
    UnknownVersion {
        /// The read model.
        read_model: String,
        /// The version.
        version: u32,
    },
    /// The generation is not there, or not in a state that allows it: what it says applies.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A generation's own files failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl StoreError {
    /// True where something is down: trying again may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Sink(SinkError::Unavailable { .. }))
    }
}

/// Why no generation could be created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Another builder is at work on this read model: wait for it, or stop it.
    #[error("{read_model} generation {id} is being built by another process")]
    AlreadyRunning {
        /// The read model.
        read_model: String,
        /// The generation being built.
        id: GenerationId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a promotion changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromoteError {
    /// The target has not seen what the live generation has shown: let its runner catch up, then try again.
    #[error("{read_model} generation {target} is behind the live generation {live}: {}", list(components))]
    Behind {
        /// The read model.
        read_model: String,
        /// What was to be promoted.
        target: GenerationId,
        /// What is live.
        live: GenerationId,
        /// Where it is behind.
        components: Vec<BehindComponent>,
    },
    /// The target is the live generation already.
    #[error("{read_model} generation {target} is live already")]
    AlreadyLive {
        /// The read model.
        read_model: String,
        /// The generation.
        target: GenerationId,
    },
    /// There is no retired generation to go back to.
    #[error("{read_model} has no retired generation to go back to")]
    NothingRetired {
        /// The read model.
        read_model: String,
    },
    /// The store failed, or the target is not ready or retired.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PromoteError {
    /// Of a read model's promotion that is refused.
    pub fn refused(read_model: &str, refusal: NotPromoted) -> Self {
        let read_model = read_model.to_owned();
        match refusal {
            NotPromoted::Refused(refusal) => Self::Store(refusal.into()),
            NotPromoted::AlreadyLive(target) => Self::AlreadyLive { read_model, target },
            NotPromoted::Behind { target, live, components } => Self::Behind { read_model, target, live, components },
            NotPromoted::NothingRetired => Self::NothingRetired { read_model },
        }
    }
}

fn list(components: &[BehindComponent]) -> String {
    components.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
