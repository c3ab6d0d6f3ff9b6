//! One batch of an owner: decisions in order, one append, and the answers that wait for it.

use std::convert::Infallible;
use std::time::Duration;

use annals_model::context::BoundedContext;
use annals_model::engine_record::{ACCEPTED_SCHEMA, ACCEPTED_TYPE};
use annals_model::envelope::{Envelope, Extensions, RequestRef, SchemaId, put_frame};
use annals_model::ids::{CommitIndex, OperationId};
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, Offset, RecordOffset, Sequence};
use annals_model::time::Timestamp;

use super::decide::{Accepted, Decision, decide};
use super::mailbox::{FreshEvent, Input, Recorded, ReplyTo};
use super::reads::{Read, answer_reads};
use super::state::{Advanced, AggregateEntry, AggregateKey, Changes, LedgerEntry, StateStore};
use crate::command::{CommandError, CommandRequest, NotNow, ReadFailure};
use crate::limits;
use crate::log::AppendBatch;

/// Decisions, their pending effects, and who waits for them.
pub(super) struct Batch {
    pub(super) append: AppendBatch,
    pub(super) reads: Vec<Read>,
    /// The newest position that was acknowledged to any of those who read.
    pub(super) at_least: Offset,
    changes: Changes,
    commits: Vec<PendingCommit>,
    pub(super) replies: Vec<Reply>,
    /// The partition's position behind the batch, but for the offset, which the log gives.
    position: Checkpoint,
    at: ContextPartition,
}

/// Who waits, and for what.
pub(super) struct Reply {
    pub(super) request: Box<CommandRequest>,
    outcome: Pending,
    pub(super) sender: ReplyTo,
}

enum Pending {
    /// Final only once the batch is settled: it may rest on a pending event.
    Refused(CommandError),
    /// Accepted before, or earlier in this batch.
    Recorded,
    /// Accepted in this batch, as the commit with this index.
    Fresh(usize),
}

/// Records of one accepted command within the append.
struct PendingCommit {
    operation: OperationId,
    key: AggregateKey,
    first_record: usize,
    records: usize,
    /// Type and payload of its events; empty for a command with nothing to do.
    events: Vec<(&'static str, serde_json::Value)>,
}

/// How the batch was settled.
pub(super) enum Settled {
    /// It had nothing to append, and ownership is proved.
    Nothing,
    /// Its records are durable, here.
    Durable(Vec<RecordOffset>),
}

impl Batch {
    pub(super) fn new(position: Checkpoint, claim_epoch: ClaimEpoch, at: ContextPartition) -> Self {
        Self {
            append: AppendBatch::default(),
            reads: Vec::new(),
            at_least: Offset::START,
            changes: Changes::default(),
            commits: Vec::new(),
            replies: Vec::new(),
            position: Checkpoint { claim_epoch, ..position },
            at,
        }
    }

    /// True while one more command fits the append for certain.
    pub(super) fn has_room(&self) -> bool {
        self.append.bytes_len() < limits::OWNER_BATCH_BYTES_MAX
    }

    /// Newest time handed to the log, this batch's records included.
    pub(super) fn emitted_at(&self) -> Timestamp {
        self.position.emitted_at
    }

    /// Decides one command on top of the batch so far.
    pub(super) async fn decide(
        &mut self,
        context: &BoundedContext,
        store: &mut dyn StateStore,
        request: Box<CommandRequest>,
        now: Timestamp,
        sender: ReplyTo,
    ) {
        let outcome = match decide(context, store, &self.changes, &request, now).await {
            Decision::Recorded => Pending::Recorded,
            Decision::Refused(error) => Pending::Refused(error),
            Decision::Accepted(accepted) => match self.accept(context, store, &request, *accepted, now) {
                Ok(()) => Pending::Fresh(self.commits.len() - 1),
                Err(error) => Pending::Refused(error),
            },
        };
        self.replies.push(Reply { request, outcome, sender });
    }

    fn accept(
        &mut self,
        context: &BoundedContext,
        store: &dyn StateStore,
        request: &CommandRequest,
        accepted: Accepted,
        now: Timestamp,
    ) -> Result<(), CommandError> {
        let Accepted { operation, key, version_before, decided } = accepted;
        let (first_record, bytes_before, ordinal_before) =
            (self.append.len(), self.append.bytes_len(), self.position.ordinal);
        let commit_size = decided.events.len().max(1) as u16;
        let mut version = version_before;
        if decided.events.is_empty() {
            let envelope = self.envelope(request, operation, key, now, 0, commit_size);
            let envelope = Envelope { event_type: ACCEPTED_TYPE, event_version: 1, sequence: version, ..envelope };
            put_record(&mut self.append, ACCEPTED_SCHEMA, &envelope, &[]);
            self.position.ordinal = envelope.ordinal;
        }
        for (index, event) in decided.events.iter().enumerate() {
            version = version.next();
            let envelope = self.envelope(request, operation, key, now, index as u16, commit_size);
            let envelope = Envelope {
                event_type: event.event_type,
                event_version: event.event_version,
                sequence: version,
                ..envelope
            };
            put_record(&mut self.append, event.schema, &envelope, &decided.payloads[event.payload.clone()]);
            self.position.ordinal = envelope.ordinal;
        }
        let bytes = self.append.bytes_len() - bytes_before;
        if bytes > limits::COMMAND_RECORDS_BYTES_MAX {
            // The log would refuse the whole append, and again at each retry.
            self.append.truncate(first_record);
            self.position.ordinal = ordinal_before;
            return Err(CommandError::TooLarge { events: decided.events.len(), bytes });
        }
        self.position.emitted_at = now;
        let placeholder = RecordOffset(0);
        self.changes.ledger.insert(
            operation,
            LedgerEntry {
                client_request_id: request.client_request_id.as_str().into(),
                fingerprint: request.fingerprint,
                aggregate: key,
                version,
                events: decided.events.len() as u16,
                first: placeholder,
                end: Offset::START,
            },
        );
        if let Some(kind) = context.aggregate(key.aggregate_type)
            && !decided.events.is_empty()
        {
            let next = AggregateEntry { state: decided.state, version, workspace: request.workspace };
            let Ok(advanced) = self.changes.advance(store, kind, key, |_| Ok::<_, Infallible>(next));
            match advanced {
                Advanced::Moved => {}
                Advanced::NotLoaded => unreachable!("loaded for the decision, and kept until the batch is over"),
            }
        }
        self.commits.push(PendingCommit {
            operation,
            key,
            first_record,
            records: usize::from(commit_size),
            events: decided.events.into_iter().map(|event| (event.event_type, event.json)).collect(),
        });
        Ok(())
    }

    /// The envelope of the next record, but for type, version and sequence.
    fn envelope<'a>(
        &self,
        request: &'a CommandRequest,
        operation: OperationId,
        key: AggregateKey,
        now: Timestamp,
        index: u16,
        commit_size: u16,
    ) -> Envelope<'a> {
        let commit_index = CommitIndex(index);
        Envelope {
            event_id: operation.event(commit_index),
            event_type: "",
            event_version: 1,
            occurred_at: now,
            emitted_at: now,
            tenant_id: key.scope.tenant,
            workspace_id: request.workspace,
            aggregate_type: key.aggregate_type,
            aggregate_id: key.id,
            sequence: Sequence::ZERO,
            actor_id: request.actor.as_ref(),
            correlation_id: Some(request.correlation_id.unwrap_or_else(|| operation.correlation())),
            causation_id: request.causation_id,
            request: (index == 0).then(|| RequestRef {
                client_request_id: request.client_request_id.as_str(),
                fingerprint: request.fingerprint,
            }),
            ordinal: self.position.ordinal.next(),
            claim_epoch: self.position.claim_epoch,
            commit_index,
            commit_size,
            policy_decision: &request.policy_decision,
            reason: request.reason.as_deref(),
            adr_id: request.adr_id.as_deref(),
            extensions: Extensions::default(),
        }
    }

    /// Applies the batch and answers everybody.
    pub(super) async fn answer(mut self, store: &mut dyn StateStore, settled: Settled, at: ContextPartition) {
        let positions = match settled {
            Settled::Nothing => Vec::new(),
            Settled::Durable(positions) => positions,
        };
        for commit in &self.commits {
            let offsets = &positions[commit.first_record..commit.first_record + commit.records];
            if let (Some(entry), [first, .., last] | [first @ last]) =
                (self.changes.ledger.get_mut(&commit.operation), offsets)
            {
                entry.first = *first;
                entry.end = last.after();
            }
            if !commit.events.is_empty() {
                self.changes.index.extend(offsets.iter().map(|offset| (commit.key, *offset)));
            }
        }
        if let Some(last) = positions.last() {
            self.position.offset = last.after();
            store.apply(std::mem::take(&mut self.changes), self.position);
        }
        for reply in self.replies {
            let operation = reply.request.operation_id();
            let answer = match reply.outcome {
                Pending::Refused(error) => Err(error),
                Pending::Recorded => recorded(store, operation, true, None),
                Pending::Fresh(index) => {
                    let commit = &mut self.commits[index];
                    let offsets = positions[commit.first_record..].iter();
                    let fresh = std::mem::take(&mut commit.events)
                        .into_iter()
                        .zip(offsets)
                        .map(|((event_type, json), offset)| FreshEvent { event_type, json, offset: *offset })
                        .collect();
                    recorded(store, operation, false, Some(fresh))
                }
            };
            reply.sender.send(answer);
        }
        answer_reads(store, at, self.reads).await;
    }

    /// After an append of unknown outcome and a new claim: the log knows.
    pub(super) async fn answer_from_ledger(self, store: &mut dyn StateStore) {
        // All or nothing was written, so one commit tells for the batch; refusals rested on it.
        let is_there =
            !self.commits.is_empty() && self.commits.iter().all(|commit| store.ledger(commit.operation).is_some());
        for reply in self.replies {
            let operation = reply.request.operation_id();
            let answer = match (reply.outcome, store.ledger(operation)) {
                (Pending::Refused(error), _) if is_there => Err(error),
                (Pending::Fresh(_), Some(entry)) if entry.fingerprint == reply.request.fingerprint => {
                    Ok(Recorded { operation, entry, replayed: false, fresh: None })
                }
                (Pending::Recorded, Some(entry)) => Ok(Recorded { operation, entry, replayed: true, fresh: None }),
                _ => Err(CommandError::Aborted { cause: "the append did not reach the log".to_owned() }),
            };
            reply.sender.send(answer);
        }
        answer_reads(store, self.at, self.reads).await;
    }

    /// Refuses everybody.
    pub(super) fn refuse_all(self, error: impl Fn() -> CommandError) {
        for reply in self.replies {
            reply.sender.send(Err(error()));
        }
        for (_, sender) in self.reads {
            drop(sender.send(Err(match error() {
                CommandError::NotOwner(at) => ReadFailure::NotOwner(at),
                _ => ReadFailure::Busy { reason: NotNow::LogUnsettled, retry_after: RETRY_AFTER },
            })));
        }
    }

    /// Refuses inputs that never got into a batch, because the one before them is not settled.
    pub(super) fn refuse_inputs(inputs: impl Iterator<Item = Input>) {
        let reason = NotNow::LogUnsettled;
        for input in inputs {
            match input {
                Input::Command { reply, .. } => {
                    reply.send(Err(CommandError::Busy { reason, retry_after: RETRY_AFTER }));
                }
                Input::Read { reply, .. } => {
                    drop(reply.send(Err(ReadFailure::Busy { reason, retry_after: RETRY_AFTER })));
                }
            }
        }
    }
}

/// When to try again after a refusal for load or a change of owner.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(limits::RETRY_AFTER_MS);

fn recorded(
    store: &dyn StateStore,
    operation: OperationId,
    replayed: bool,
    fresh: Option<Vec<FreshEvent>>,
) -> Result<Recorded, CommandError> {
    match store.ledger(operation) {
        Some(entry) => Ok(Recorded { operation, entry, replayed, fresh }),
        None => unreachable!("the batch that accepted operation {operation} was applied"),
    }
}

fn put_record(append: &mut AppendBatch, schema: SchemaId, envelope: &Envelope<'_>, payload: &[u8]) {
    append.push(|out| {
        put_frame(out, schema);
        envelope.encode(out);
        out.extend_from_slice(payload);
    });
}
