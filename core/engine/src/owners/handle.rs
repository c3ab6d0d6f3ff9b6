//! How do commands and reads reach their partition's owner?

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_model::context::BoundedContext;
use annals_model::event::SchemaCatalogue;
use annals_model::ids::{ContextId, OperationId, Slot, TenantId};
use annals_model::position::{ContextPartition, Offset, PositionVector, Sequence};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::addresses::{Addresses, PartitionOwner};
use super::batch::RETRY_AFTER;
use super::chain::Link;
use super::gate::{Admitted, Gate};
use super::mailbox::{Input, ReadAnswer, ReadQuery, Recorded, ReplyTo};
use super::state::{AggregateAddress, AggregateKey};
use super::status::{PartitionState, PartitionStatus};
use crate::command::{
    AggregateView, AnsweredEvent, CommandAnswer, CommandError, CommandRequest, HistoryEvent, NotNow, ReadFailure,
};
use crate::limits;
use crate::log::{EventLog, Owner};
use crate::outage::Outage;
use crate::telemetry::{self, CommandOutcome};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) contexts: Vec<BoundedContext>,
    pub(super) catalogue: SchemaCatalogue,
    pub(super) mailboxes: BTreeMap<ContextPartition, Mailbox>,
    pub(super) addresses: Addresses,
    /// Where the application has a rule for workspaces.
    pub(super) gate: Option<Gate>,
    pub(super) owner: Owner,
    /// Of the log, where recorded events are read.
    pub(super) unread: Outage,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) sender: mpsc::Sender<Input>,
    pub(super) state: watch::Receiver<PartitionState>,
}

impl Mailbox {
    pub(super) fn state(&self) -> PartitionState {
        // The sender goes with its owner, who leaves neither of these two states behind when it ends in good order.
        let gone = self.state.has_changed().is_err();
        match self.state.borrow().clone() {
            PartitionState::Claiming | PartitionState::Serving { .. } if gone => PartitionState::Stopped {
                cause: "its owner ended by a panic or with its runtime; see the log lines, restart the process"
                    .to_owned(),
            },
            state => state,
        }
    }
}

/// A cheap way to the owners.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    pub(super) shared: Arc<Shared>,
    /// What reads must cover.
    pub(super) at_least: Arc<PositionVector>,
}

impl EngineHandle {
    /// The same, for somebody who was told of these positions: no read is answered by an owner that has not come there,
    /// unless it has proved since that it is the owner still.
    #[must_use]
    pub fn covering(&self, at_least: PositionVector) -> Self {
        Self { shared: Arc::clone(&self.shared), at_least: Arc::new(at_least) }
    }

    /// What a read of this partition must cover.
    pub fn must_cover(&self, at: ContextPartition) -> Offset {
        self.at_least.get(at)
    }

    /// The context with this name.
    pub fn context(&self, name: &str) -> Option<&BoundedContext> {
        self.contexts().find(|context| context.id().name == name)
    }

    /// All contexts.
    pub fn contexts(&self) -> impl Iterator<Item = &BoundedContext> {
        self.shared.contexts.iter()
    }

    /// Every schema that this build knows.
    pub fn schemas(&self) -> SchemaCatalogue {
        self.shared.catalogue
    }

    /// The log that the engine appends to.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.shared.log
    }

    /// Every partition and whether this process serves it.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        let status = |(at, mailbox): (&ContextPartition, &Mailbox)| PartitionStatus { at: *at, state: mailbox.state() };
        self.shared.mailboxes.iter().map(status).collect()
    }

    /// Whether this process serves a partition; nothing if there is no such partition.
    pub fn state(&self, at: ContextPartition) -> Option<PartitionState> {
        self.mailbox(at).map(Mailbox::state)
    }

    /// The partitions to which no command can be sent from here: not served, and no owner elsewhere is known.
    pub fn unreachable(&self) -> Vec<PartitionStatus> {
        let reachable = |status: &PartitionStatus| match &status.state {
            PartitionState::Serving { .. } => true,
            PartitionState::NotOwner => self.owner(status.at).is_some_and(|owner| owner.owner != self.identity().id),
            PartitionState::Claiming | PartitionState::Stopped { .. } => false,
        };
        self.partitions().into_iter().filter(|status| !reachable(status)).collect()
    }

    /// Why the log does not answer just now, as far as this process has noticed: a process with an address asks it several
    /// times a second.
    pub fn log_trouble(&self) -> Option<String> {
        self.shared.addresses.trouble()
    }

    /// Who this process is in its claims.
    pub fn identity(&self) -> &Owner {
        &self.shared.owner
    }

    /// Who owns a partition, as far as this process knows: an address to try, and no more. Nothing while nobody does, and
    /// in a process that has no address itself.
    pub fn owner(&self, at: ContextPartition) -> Option<PartitionOwner> {
        self.shared.addresses.of(at)
    }

    /// Waits until something is heard of owners again, because the owner that was named did not answer.
    pub async fn owners_heard(&self) {
        self.shared.addresses.heard().await;
    }

    /// Waits until none of these is owned here, nor being claimed: whoever shares partitions out may give them to others.
    pub async fn released(&self, partitions: &[ContextPartition]) {
        for mailbox in partitions.iter().filter_map(|at| self.mailbox(*at)) {
            let mut state = mailbox.state.clone();
            let owned =
                |state: &PartitionState| matches!(state, PartitionState::Claiming | PartitionState::Serving { .. });
            // An owner that ended has dropped its sender: released.
            drop(state.wait_for(|state| !owned(state)).await);
        }
    }

    /// Waits until no partition is being claimed.
    pub async fn settled(&self) {
        for mailbox in self.shared.mailboxes.values() {
            let mut state = mailbox.state.clone();
            // An owner that ended by a panic drops its sender: settled, for what it is worth.
            drop(state.wait_for(|state| *state != PartitionState::Claiming).await);
        }
    }

    /// Decides a command whose workspace may be worked in, and makes its events durable.
    pub async fn execute(&self, request: CommandRequest, deadline: Instant) -> Result<CommandAnswer, CommandError> {
        let admitted = self.admit(request, deadline).await?;
        self.execute_in(None, admitted, deadline).await
    }

    /// The same for a command that was admitted, and may rest on others before it: it is decided behind them, or not at all.
    /// The first poll puts it into its partition's queue.
    pub async fn execute_in(
        &self,
        link: Option<Link>,
        Admitted(request): Admitted,
        deadline: Instant,
    ) -> Result<CommandAnswer, CommandError> {
        let tenant = request.scope.tenant;
        let answer = self.decide(link, request, deadline).await;
        if let Ok(answer) = &answer {
            self.changed(tenant, answer.context, answer.aggregate_type, answer.aggregate_id);
        }
        telemetry::answered(match &answer {
            Ok(answer) if answer.replayed => CommandOutcome::Replayed,
            Ok(_) => CommandOutcome::Accepted,
            Err(error) if error.is_final() => CommandOutcome::Refused,
            Err(_) => CommandOutcome::Failed,
        });
        answer
    }

    async fn decide(
        &self,
        link: Option<Link>,
        request: CommandRequest,
        deadline: Instant,
    ) -> Result<CommandAnswer, CommandError> {
        let at = self.partition_of(request.context, request.scope.slot());
        let mailbox = self.mailbox(at).ok_or(CommandError::NotOwner(at))?;
        let (reply, answer) = oneshot::channel();
        let input = Input::Command { request: Box::new(request), deadline, reply: ReplyTo::new(reply, link) };
        mailbox.sender.try_send(input).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                CommandError::Busy { reason: NotNow::QueueFull, retry_after: RETRY_AFTER }
            }
            mpsc::error::TrySendError::Closed(_) => mailbox.state().command_error(at),
        })?;
        let recorded = match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) | Err(_) => return Err(CommandError::Unanswered),
        };
        self.command_answer(at, recorded, deadline).await.map_err(|failure| match failure {
            ReadFailure::Stopped { at, cause } => CommandError::Stopped { at, cause },
            ReadFailure::Busy { .. } | ReadFailure::Deadline | ReadFailure::NotOwner(_) => CommandError::Unanswered,
        })
    }

    /// An aggregate's state at its owner; nothing if it does not exist.
    pub async fn aggregate(
        &self,
        of: AggregateAddress<'_>,
        deadline: Instant,
    ) -> Result<Option<AggregateView>, ReadFailure> {
        let Some(key) = self.key(of) else { return Ok(None) };
        let at = self.partition_of(of.context, of.scope.slot());
        match self.read(at, ReadQuery::Aggregate(key), deadline).await? {
            ReadAnswer::Aggregate(seen) => Ok(seen.map(Into::into)),
            ReadAnswer::History(_) | ReadAnswer::Operation(_) => unreachable!("answers match their queries"),
        }
    }

    /// An aggregate's events behind `after`, at most `limit` (≤ [`limits::HISTORY_EVENTS_MAX`]); nothing if it does
    /// not exist.
    pub async fn history(
        &self,
        of: AggregateAddress<'_>,
        after: Sequence,
        limit: usize,
        deadline: Instant,
    ) -> Result<Option<Vec<HistoryEvent>>, ReadFailure> {
        let Some(key) = self.key(of) else { return Ok(None) };
        let at = self.partition_of(of.context, of.scope.slot());
        let query = ReadQuery::History { key, after, limit: limit.min(limits::HISTORY_EVENTS_MAX) };
        match self.read(at, query, deadline).await? {
            ReadAnswer::History(None) => Ok(None),
            ReadAnswer::History(Some(offsets)) => self.events_at(at, &offsets, deadline).await.map(Some),
            ReadAnswer::Aggregate(_) | ReadAnswer::Operation(_) => unreachable!("answers match their queries"),
        }
    }

    /// An accepted command of this tenant; nothing if there is none with this id.
    pub async fn operation(
        &self,
        tenant: TenantId,
        id: OperationId,
        deadline: Instant,
    ) -> Result<Option<CommandAnswer>, ReadFailure> {
        let Some(at) = self.operation_partition(id) else { return Ok(None) };
        match self.read(at, ReadQuery::Operation { tenant, id }, deadline).await? {
            ReadAnswer::Operation(None) => Ok(None),
            ReadAnswer::Operation(Some(entry)) => {
                let recorded = Recorded { operation: id, entry, replayed: true, fresh: None };
                self.command_answer(at, recorded, deadline).await.map(Some)
            }
            ReadAnswer::Aggregate(_) | ReadAnswer::History(_) => unreachable!("answers match their queries"),
        }
    }

    /// The partition that an operation was decided in; nothing if there can be no such operation.
    pub fn operation_partition(&self, id: OperationId) -> Option<ContextPartition> {
        let context = self.contexts().map(BoundedContext::id).find(|c| c.number == id.context_number())?;
        id.is_well_formed().then(|| self.partition_of(context, id.slot()))
    }

    /// The partition of a scope's slot.
    pub fn partition_of(&self, context: ContextId, slot: Slot) -> ContextPartition {
        ContextPartition { context, partition: slot.partition(self.shared.log.partitions(context).max(1)) }
    }

    fn mailbox(&self, at: ContextPartition) -> Option<&Mailbox> {
        self.shared.mailboxes.get(&at)
    }

    /// The owner's key; nothing if the context has no such aggregate type.
    fn key(&self, of: AggregateAddress<'_>) -> Option<AggregateKey> {
        let context = self.contexts().find(|known| known.id() == of.context)?;
        let aggregate_type = context.aggregate(of.aggregate_type)?.aggregate_type();
        Some(AggregateKey { scope: of.scope, aggregate_type, id: of.id })
    }

    pub(super) async fn read(
        &self,
        at: ContextPartition,
        query: ReadQuery,
        deadline: Instant,
    ) -> Result<ReadAnswer, ReadFailure> {
        let mailbox = self.mailbox(at).ok_or(ReadFailure::NotOwner(at))?;
        let (reply, answer) = oneshot::channel();
        let at_least = self.at_least.get(at);
        mailbox.sender.try_send(Input::Read { query, at_least, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                ReadFailure::Busy { reason: NotNow::QueueFull, retry_after: RETRY_AFTER }
            }
            mpsc::error::TrySendError::Closed(_) => mailbox.state().read_failure(at),
        })?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(mailbox.state().read_failure(at)),
            Err(_) => Err(ReadFailure::Deadline),
        }
    }

    async fn command_answer(
        &self,
        at: ContextPartition,
        recorded: Recorded,
        deadline: Instant,
    ) -> Result<CommandAnswer, ReadFailure> {
        let Recorded { operation, entry, replayed, fresh } = recorded;
        let events = match fresh {
            Some(fresh) => (0u16..)
                .zip(fresh)
                .map(|(index, event)| AnsweredEvent {
                    event_id: operation.event(annals_model::ids::CommitIndex(index)),
                    event_type: event.event_type.to_owned(),
                    offset: event.offset,
                    data: event.json,
                })
                .collect(),
            None => self.events_of(at, &entry, deadline).await?,
        };
        Ok(CommandAnswer {
            operation_id: operation,
            replayed,
            created: entry.events > 0 && entry.version.0 == u64::from(entry.events),
            context: at.context,
            aggregate_type: entry.aggregate.aggregate_type,
            aggregate_id: entry.aggregate.id,
            version: entry.version,
            events,
            position: PositionVector::of(at, entry.end),
        })
    }
}
