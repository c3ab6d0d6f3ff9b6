//! What an owner is asked, and what it answers: everything that passes through its mailbox.

use annals_model::context::AnyState;
use annals_model::ids::{OperationId, TenantId, WorkspaceId};
use annals_model::position::{ContextPartition, Offset, PositionVector, RecordOffset, Sequence};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::PartitionState;
use super::chain::Link;
use super::state::{AggregateEntry, AggregateKey, LedgerEntry};
use crate::command::{AggregateView, CommandError, CommandRequest, ReadFailure};

/// Everything that an owner can be asked.
#[derive(Debug)]
pub(super) enum Input {
    Command {
        request: Box<CommandRequest>,
        deadline: Instant,
        reply: ReplyTo,
    },
    /// `at_least` is a position that was acknowledged to whoever asks: an owner that has not come there may be none any more.
    Read {
        query: ReadQuery,
        at_least: Offset,
        reply: oneshot::Sender<Result<ReadAnswer, ReadFailure>>,
    },
}

impl Input {
    /// Answers that the partition, in this state, is not served here.
    pub(super) fn refuse(self, state: &PartitionState, at: ContextPartition) {
        match self {
            Self::Command { reply, .. } => reply.send(Err(state.command_error(at))),
            Self::Read { reply, .. } => drop(reply.send(Err(state.read_failure(at)))),
        }
    }
}

/// A read that only the owner can answer.
#[derive(Clone, Debug)]
pub(super) enum ReadQuery {
    Aggregate(AggregateKey),
    History { key: AggregateKey, after: Sequence, limit: usize },
    Operation { tenant: TenantId, id: OperationId },
}

/// Answer to a [`ReadQuery`].
#[derive(Clone, Debug)]
pub(super) enum ReadAnswer {
    Aggregate(Option<SeenAggregate>),
    History(Option<Vec<RecordOffset>>),
    Operation(Option<LedgerEntry>),
}

/// An aggregate as its owner has it. What clients see of the state is made by whoever asked, not by the owner, who has others
/// to serve.
#[derive(Clone, Debug)]
pub(super) struct SeenAggregate {
    version: Sequence,
    workspace: WorkspaceId,
    state: AnyState,
    position: PositionVector,
}

impl SeenAggregate {
    pub(super) fn new(entry: &AggregateEntry, position: PositionVector) -> Self {
        let AggregateEntry { state, version, workspace } = entry.clone();
        Self { version, workspace, state, position }
    }
}

impl From<SeenAggregate> for AggregateView {
    fn from(SeenAggregate { version, workspace, state, position }: SeenAggregate) -> Self {
        Self { version, workspace, state: state.to_json(), position }
    }
}

/// An accepted command as the ledger holds it, with the events' JSON where this very attempt made them.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) operation: OperationId,
    pub(super) entry: LedgerEntry,
    /// True if the request was accepted before this attempt.
    pub(super) replayed: bool,
    /// The events that this attempt appended; otherwise they are read from the log.
    pub(super) fresh: Option<Vec<FreshEvent>>,
}

/// An event that was just appended.
#[derive(Clone, Debug)]
pub(super) struct FreshEvent {
    pub(super) event_type: &'static str,
    pub(super) json: serde_json::Value,
    pub(super) offset: RecordOffset,
}

/// Who waits for a command's answer. A command that is dropped without one was not decided.
#[derive(Debug)]
pub(super) struct ReplyTo {
    sender: Option<oneshot::Sender<Result<Recorded, CommandError>>>,
    link: Option<Link>,
}

impl ReplyTo {
    pub(super) fn new(sender: oneshot::Sender<Result<Recorded, CommandError>>, link: Option<Link>) -> Self {
        Self { sender: Some(sender), link }
    }

    pub(super) fn is_behind_undecided(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_behind_undecided)
    }

    /// Answers. A caller who no longer listens will ask again under the same id.
    pub(super) fn send(mut self, answer: Result<Recorded, CommandError>) {
        if answer.as_ref().err().is_none_or(CommandError::is_final) {
            self.link = None;
        }
        // Before the caller knows: what it sends next must find it.
        self.leave_undecided();
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(answer);
        }
    }

    fn leave_undecided(&mut self) {
        if let Some(link) = self.link.take() {
            link.leave_undecided();
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.leave_undecided();
    }
}
