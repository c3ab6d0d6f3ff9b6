//! What a command asks of the engine and what it is answered.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use annals_model::context::{AnyCommand, Refusal};
use annals_model::envelope::Fingerprint;
use annals_model::ids::{
    Actor, AggregateId, ClientRequestId, ContextId, CorrelationId, EventId, OperationId, Scope, TenantId, WorkspaceId,
};
use annals_model::position::{ContextPartition, PositionVector, RecordOffset, Sequence};
use annals_model::time::Timestamp;
use serde_json::Value;

/// One command, parsed and authenticated.
#[derive(Clone, Debug)]
pub struct CommandRequest {
    /// The context whose aggregate it is for.
    pub context: ContextId,
    /// Wire name of the aggregate's type.
    pub aggregate_type: &'static str,
    /// The command, parsed by that aggregate type.
    pub command: AnyCommand,
    /// The consistency boundary: workspace nil for tenant-level aggregates.
    pub scope: Scope,
    /// The workspace that it is about (the envelope's `workspace_id`); nil where none applies.
    pub workspace: WorkspaceId,
    /// The aggregate; nothing only for a new one, whose id then derives from the request.
    pub aggregate_id: Option<AggregateId>,
    /// Refuse unless the aggregate has this version.
    pub expected_version: Option<Sequence>,
    /// The key of idempotency.
    pub client_request_id: ClientRequestId,
    /// What it asks, hashed: tells a retry from another command under the same id.
    pub fingerprint: Fingerprint,
    /// Who.
    pub actor: Actor,
    /// Request trace; the operation where the client names none.
    pub correlation_id: Option<CorrelationId>,
    /// The event that caused it; nothing for a client's own command.
    pub causation_id: Option<EventId>,
    /// Why, in words.
    pub reason: Option<String>,
    /// The decision record that it follows.
    pub adr_id: Option<String>,
    /// Reference of the decision that allowed it.
    pub policy_decision: String,
}

impl CommandRequest {
    /// The operation that this request is, whenever and wherever it is sent.
    pub fn operation_id(&self) -> OperationId {
        OperationId::derive(self.context, self.scope, &self.client_request_id)
    }
}

/// An accepted command: durable, now or at an earlier attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandAnswer {
    /// The operation; look it up later under this id.
    pub operation_id: OperationId,
    /// True if this request was accepted before: nothing was repeated.
    pub replayed: bool,
    /// True if the command created its aggregate.
    pub created: bool,
    /// Context of the aggregate.
    pub context: ContextId,
    /// Wire name of the aggregate's type.
    pub aggregate_type: &'static str,
    /// The aggregate.
    pub aggregate_id: AggregateId,
    /// Its version behind the command.
    pub version: Sequence,
    /// What was appended, in order; empty if there was nothing to do.
    pub events: Vec<AnsweredEvent>,
    /// Covers the command's events: read models that reached it show them.
    pub position: PositionVector,
}

/// One event of a [`CommandAnswer`].
#[derive(Clone, Debug, PartialEq)]
pub struct AnsweredEvent {
    /// The event's id.
    pub event_id: EventId,
    /// Wire name.
    pub event_type: String,
    /// Where it lies.
    pub offset: RecordOffset,
    /// Its payload.
    pub data: Value,
}

/// Why a command was not accepted. Only [`CommandError::Unanswered`] and [`CommandError::NotOwner`] leave open whether it was
/// written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// A business rule says no; nothing was written. Change the command, under a new client request id.
    #[error("{}", .0.message)]
    Rejected(Refusal),
    /// Its workspace is not worked in, or nobody could say; nothing was written.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The aggregate does not exist; nothing was written.
    #[error("{aggregate_type} {id} does not exist")]
    NotFound {
        /// Wire name of the aggregate's type.
        aggregate_type: &'static str,
        /// The id asked for.
        id: AggregateId,
    },
    /// The command needs an aggregate id and names none; nothing was written.
    #[error("the command needs an aggregate_id; only {} may leave it out", created_by.join(", "))]
    AggregateIdMissing {
        /// The commands that create an aggregate of this type.
        created_by: &'static [&'static str],
    },
    /// The command creates an aggregate that exists already; nothing was written.
    #[error(
        "{aggregate_type} {id} exists already{}",
        version.map_or_else(String::new, |version| format!(", at version {version}"))
    )]
    AlreadyExists {
        /// Wire name of the aggregate's type.
        aggregate_type: &'static str,
        /// The id asked for.
        id: AggregateId,
        /// Its version; nothing if it is about another workspace.
        version: Option<Sequence>,
    },
    /// The aggregate moved on; nothing was written. Read it again and decide anew.
    #[error("expected version {expected}, the aggregate is at {actual}; read it again and decide anew")]
    VersionConflict {
        /// What the caller expected.
        expected: Sequence,
        /// What it is.
        actual: Sequence,
    },
    /// Another aggregate of the scope holds this value; nothing was written.
    #[error("{key} is taken by {holder}")]
    UniqueKeyTaken {
        /// Which key, `application.name`.
        key: &'static str,
        /// Who holds it.
        holder: AggregateId,
    },
    /// The client request id was used before, for another command; nothing was written. Use a new id.
    #[error("client_request_id was used before for another command (operation {operation}); use a new one")]
    FingerprintMismatch {
        /// The operation that it named then.
        operation: OperationId,
    },
    /// The command would write more than one append may hold; nothing was written. Split it.
    #[error("the command would append {events} events in {bytes} bytes; split it")]
    TooLarge {
        /// Events that it would append.
        events: usize,
        /// Bytes that they have.
        bytes: usize,
    },
    /// The aggregate's own code panicked on it; nothing was written. Sending it again does the same: report it.
    #[error(
        "{aggregate_type} cannot decide this command because of a mistake in its code ({cause}); nothing was written, report it"
    )]
    Defect {
        /// Wire name of the aggregate's type.
        aggregate_type: &'static str,
        /// What the panic said.
        cause: String,
    },
    /// Overload, shutdown, or a log that does not answer; nothing was written. Send it again, with the same id, after the
    /// time named.
    #[error("{reason}; send it again after {} ms", .retry_after.as_millis())]
    Busy {
        /// Why not now.
        reason: NotNow,
        /// When to try again.
        retry_after: Duration,
    },
    /// The append failed as a whole; nothing was written. Send it again, with the same id.
    #[error(
        "the log did not take the append ({cause}); nothing was written, send it again with the same client_request_id"
    )]
    Aborted {
        /// What the log said.
        cause: String,
    },
    /// A command before it, on which it may rest, was not decided; nothing was written. Send them again in their order, with
    /// the same ids.
    #[error("a command before this one was not decided; nothing was done, send it again behind that one")]
    BehindUndecided,
    /// Time ran out, or the log did not say: it may or may not be written. Send it again with the same id: it is
    /// answered, not repeated.
    #[error(
        "no answer within the deadline; send it again with the same client_request_id: it is answered, not repeated"
    )]
    Unanswered,
    /// This process does not own the partition (any more), and cannot say whether it was written: its owner can. Send it
    /// there, with the same id: it is answered, not repeated.
    #[error("partition {0} is owned by another process; send it again with the same client_request_id")]
    NotOwner(ContextPartition),
    /// The partition is stopped because its log is damaged; an operator must look.
    #[error("partition {at} is stopped: {cause}")]
    Stopped {
        /// The partition.
        at: ContextPartition,
        /// Why.
        cause: String,
    },
}

impl CommandError {
    /// True where the same command would be refused again: sending it anew cannot help.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::NotAdmitted(NotAdmitted::NoWorkspace(_) | NotAdmitted::Closed(_))
            | Self::Rejected(_)
            | Self::NotFound { .. }
            | Self::AggregateIdMissing { .. }
            | Self::AlreadyExists { .. }
            | Self::VersionConflict { .. }
            | Self::UniqueKeyTaken { .. }
            | Self::FingerprintMismatch { .. }
            | Self::TooLarge { .. }
            | Self::Defect { .. } => true,
            Self::NotAdmitted(NotAdmitted::Unasked(_))
            | Self::Busy { .. }
            | Self::Aborted { .. }
            | Self::BehindUndecided
            | Self::Unanswered
            | Self::NotOwner(_)
            | Self::Stopped { .. } => false,
        }
    }
}

/// Why a workspace is not worked in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// The tenant has no such workspace.
    #[error("there is no workspace {0}; create it first, or check the id and your token's tenant")]
    NoWorkspace(WorkspaceId),
    /// It is closed for good.
    #[error("workspace {0} is archived: nothing in it changes any more; use another one")]
    Closed(WorkspaceId),
    /// Nobody answered whether it may be: nothing was done, send it again. The cause is whatever was asked with.
    #[error(transparent)]
    Unasked(Arc<dyn Error + Send + Sync>),
}

impl PartialEq for NotAdmitted {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl NotAdmitted {
    /// Nobody answered.
    pub fn unasked(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unasked(Arc::new(cause))
    }
}

/// Why something was not begun that may be a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// As many wait as may.
    #[error("the partition's queue is full")]
    QueueFull,
    /// What is recorded cannot be read.
    #[error("the log cannot be read now")]
    LogSilent,
    /// What was asked for together with it, or before it, was not taken by the log.
    #[error("the log did not take what came before it, or does not say whether it did")]
    LogUnsettled,
}

/// Why a read at the owner failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReadFailure {
    /// Overload, shutdown, or a log that does not answer: try again.
    #[error("{reason}; try again after {} ms", .retry_after.as_millis())]
    Busy {
        /// Why not now.
        reason: NotNow,
        /// When to try again.
        retry_after: Duration,
    },
    /// No answer within the deadline: try again.
    #[error("no answer within the deadline")]
    Deadline,
    /// This process does not own the partition (any more).
    #[error("partition {0} is owned by another process")]
    NotOwner(ContextPartition),
    /// The partition is stopped because its log is damaged; an operator must look.
    #[error("partition {at} is stopped: {cause}")]
    Stopped {
        /// The partition.
        at: ContextPartition,
        /// Why.
        cause: String,
    },
}

/// An aggregate as its owner sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateView {
    /// Its version.
    pub version: Sequence,
    /// The workspace that its events are about; nil where none applies.
    pub workspace: WorkspaceId,
    /// Its state, as clients see it.
    pub state: Value,
    /// Everything up to here is in that state.
    pub position: PositionVector,
}

/// One event of an aggregate's history, with its whole envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEvent {
    /// The partition that it lies in.
    pub at: ContextPartition,
    /// Where in it.
    pub offset: RecordOffset,
    /// The event's id.
    pub event_id: EventId,
    /// Wire name.
    pub event_type: String,
    /// Major version under which it was written.
    pub event_version: i32,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The workspace that it is about; nil where it is about the whole tenant.
    pub workspace_id: WorkspaceId,
    /// Wire name of the aggregate's type.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: AggregateId,
    /// Position inside the aggregate.
    pub sequence: Sequence,
    /// When it was decided.
    pub occurred_at: Timestamp,
    /// When it was handed to the log.
    pub emitted_at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Request trace; never nothing, see [`annals_model::envelope::Envelope::correlation`].
    pub correlation_id: CorrelationId,
    /// The event that caused it.
    pub causation_id: Option<EventId>,
    /// The request, on the first event of its command.
    pub client_request_id: Option<String>,
    /// Reference of the decision that allowed it.
    pub policy_decision: String,
    /// Why, in words.
    pub reason: Option<String>,
    /// The decision record that it follows.
    pub adr_id: Option<String>,
    /// Its payload, as written.
    pub payload: Value,
}
