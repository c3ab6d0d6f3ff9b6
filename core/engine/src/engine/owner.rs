//! The owner of one partition: one task, one closed enum of inputs, one append in flight.

use std::sync::Arc;
use std::time::Duration;

use annals_model::context::BoundedContext;
use annals_model::ids::{OperationId, TenantId};
use annals_model::position::{ContextPartition, PositionVector, RecordOffset, Sequence};
use annals_model::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::batch::{Batch, Settled};
use super::replay::replay;
use super::state::{AggregateKey, LedgerEntry, Peek, StateStore};
use super::{Clock, PartitionState};
use crate::command::{AggregateView, CommandError, CommandRequest, ReadFailure};
use crate::limits;
use crate::log::{AppendOutcome, Claimed, EventLog, LogWriter, Owner, ProofOutcome};
use crate::seeded::{SeededBug, is_on};

/// Everything that an owner can be asked.
#[derive(Debug)]
pub(super) enum Input {
    Command { request: Box<CommandRequest>, deadline: Instant, reply: oneshot::Sender<Result<Recorded, CommandError>> },
    Read { query: ReadQuery, reply: oneshot::Sender<Result<ReadAnswer, ReadFailure>> },
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
    Aggregate(Option<AggregateView>),
    History(Option<Vec<RecordOffset>>),
    Operation(Option<LedgerEntry>),
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

/// What an owner needs to live.
pub(super) struct Owning {
    pub(super) at: ContextPartition,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) context: Arc<BoundedContext>,
    pub(super) owner: Owner,
    pub(super) clock: Clock,
    pub(super) store: Box<dyn StateStore>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) state: watch::Sender<PartitionState>,
    /// True once the process shuts down: no further inputs are taken, those queued are answered.
    pub(super) stopping: watch::Receiver<bool>,
}

/// A writer, and when the log last proved that it is the newest claim.
struct Proven {
    writer: Box<dyn LogWriter>,
    at: Instant,
}

/// How a batch left the owner.
enum After {
    /// Still the owner.
    Serving(Proven),
    /// Nobody knows what became of the append: claim again, then answer these from the log.
    Reclaim(Box<Batch>),
    /// Somebody else owns the partition.
    Lost,
}

impl Owning {
    /// Claims and serves until the process shuts down, then drains and ends.
    pub(super) async fn run(mut self) {
        let Some(mut proven) = self.claim().await else { return self.refuse_rest().await };
        loop {
            self.state.send_replace(PartitionState::Serving);
            let Some(batch) = self.drain().await else {
                self.state.send_replace(PartitionState::NotOwner);
                return;
            };
            let after = match self.serve(proven, batch).await {
                After::Reclaim(batch) if is_on(SeededBug::RetryUnknownWithoutReading) => {
                    self.decide_again(*batch).await
                }
                after => after,
            };
            match after {
                After::Serving(next) => proven = next,
                After::Lost => {
                    warn!(at = %self.at, "fenced by a newer claim");
                    self.store.clear();
                    self.state.send_replace(PartitionState::NotOwner);
                    return self.refuse_rest().await;
                }
                After::Reclaim(batch) => {
                    self.state.send_replace(PartitionState::Claiming);
                    let Some(next) = self.claim().await else {
                        batch.refuse_all(|| CommandError::Unanswered);
                        return self.refuse_rest().await;
                    };
                    proven = next;
                    batch.answer_from_ledger(&*self.store);
                }
            }
        }
    }

    /// Claims the partition and folds its log up to the barrier. Nothing if the partition is stopped, or if everybody
    /// who could ask has gone.
    async fn claim(&mut self) -> Option<Proven> {
        let mut backoff_ms = limits::CLAIM_BACKOFF_MS_MIN;
        loop {
            // Whoever was stopped since the claim was written may be fenced by now: the proof is as old as the question.
            let asked = Instant::now();
            let cause = match self.log.claim(self.at, self.owner.clone()).await {
                Ok(Claimed { writer, barrier }) => {
                    let started = Instant::now();
                    match replay(&*self.log, self.at, &self.context, &mut *self.store, barrier).await {
                        Ok(()) => {
                            let ordinal = self.store.position().ordinal;
                            info!(at = %self.at, %ordinal, took_ms = started.elapsed().as_millis(), "claimed");
                            return Some(Proven { writer, at: asked });
                        }
                        Err(failure) if failure.is_transient() => failure.to_string(),
                        Err(failure) => return self.stop(failure.to_string()),
                    }
                }
                Err(crate::log::ClaimError::Unavailable(cause)) => cause,
                Err(failure) => return self.stop(failure.to_string()),
            };
            warn!(at = %self.at, %cause, backoff_ms, "claim failed, trying again");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(backoff_ms)) => {}
                () = stopped(&mut self.stopping) => {
                    self.state.send_replace(PartitionState::NotOwner);
                    return None;
                }
            }
            backoff_ms = (backoff_ms * 2).min(limits::CLAIM_BACKOFF_MS_MAX);
        }
    }

    /// A mistake on purpose.
    async fn decide_again(&mut self, batch: Batch) -> After {
        let asked = Instant::now();
        match self.log.claim(self.at, self.owner.clone()).await {
            Ok(Claimed { writer, .. }) => self.serve(Proven { writer, at: asked }, batch.into_inputs()).await,
            Err(_) => After::Lost,
        }
    }

    fn stop(&self, cause: String) -> Option<Proven> {
        error!(at = %self.at, %cause, "partition stopped");
        self.state.send_replace(PartitionState::Stopped { cause });
        None
    }

    /// Takes what is queued, at least one input; nothing when the process shuts down and the queue is empty.
    async fn drain(&mut self) -> Option<Vec<Input>> {
        let mut inputs = Vec::new();
        if *self.stopping.borrow() {
            // Under load the queue is never found empty: what is in it now is answered, nothing more gets in.
            self.inputs.close();
        }
        tokio::select! {
            // What is queued first: a shutdown answers it all.
            biased;
            _ = self.inputs.recv_many(&mut inputs, limits::OWNER_BATCH_INPUTS_MAX) => {}
            () = stopped(&mut self.stopping) => {
                self.inputs.close();
                self.inputs.recv_many(&mut inputs, limits::OWNER_BATCH_INPUTS_MAX).await;
            }
        }
        (!inputs.is_empty()).then_some(inputs)
    }

    async fn serve(&mut self, proven: Proven, inputs: Vec<Input>) -> After {
        let mut proven = Some(proven);
        let mut inputs = inputs.into_iter();
        // One pass unless the inputs' events fill more than one append.
        while inputs.len() > 0 {
            let Some(Proven { writer, at: proven_at }) = proven.take() else {
                unreachable!("put back at the end of each pass")
            };
            let mut batch = Batch::new(self.store.position(), writer.claim_epoch(), self.at);
            while batch.has_room()
                && let Some(input) = inputs.next()
            {
                match input {
                    Input::Command { request, deadline, reply } => {
                        // The caller has gone: writing now would only surprise them.
                        if deadline > Instant::now() {
                            let now = self.now(&batch);
                            batch.decide(&self.context, &mut *self.store, request, now, reply).await;
                        }
                    }
                    Input::Read { query, reply } => batch.reads.push((query, reply)),
                }
            }
            match self.settle(writer, proven_at, batch).await {
                After::Serving(next) => proven = Some(next),
                other => {
                    Batch::refuse_inputs(inputs);
                    return other;
                }
            }
        }
        match proven {
            Some(proven) => After::Serving(proven),
            None => unreachable!("put back at the end of each pass"),
        }
    }

    /// Makes a batch durable, or proves ownership if it has nothing to append, and only then answers.
    async fn settle(&mut self, writer: Box<dyn LogWriter>, proven_at: Instant, mut batch: Batch) -> After {
        let started = Instant::now();
        if batch.append.is_empty() {
            let fresh_enough = Duration::from_millis(limits::OWNERSHIP_PROOF_MS_MAX);
            if started.duration_since(proven_at) <= fresh_enough {
                return self.answered(Proven { writer, at: proven_at }, batch, Settled::Nothing);
            }
            return match writer.prove().await {
                ProofOutcome::Owner { writer } => {
                    self.answered(Proven { writer, at: started }, batch, Settled::Nothing)
                }
                ProofOutcome::Fenced => {
                    batch.refuse_all(|| CommandError::NotOwner(self.at));
                    After::Lost
                }
                ProofOutcome::Unknown { cause } => {
                    warn!(at = %self.at, %cause, "ownership could not be proved, claiming again");
                    After::Reclaim(Box::new(batch))
                }
            };
        }
        match writer.append(std::mem::take(&mut batch.append)).await {
            AppendOutcome::Durable { writer, positions } => {
                self.answered(Proven { writer, at: started }, batch, Settled::Durable(positions))
            }
            AppendOutcome::Aborted { writer, cause } => {
                warn!(at = %self.at, %cause, "append aborted");
                batch.refuse_all(|| CommandError::Aborted { cause: cause.clone() });
                After::Serving(Proven { writer, at: proven_at })
            }
            AppendOutcome::Fenced => {
                batch.refuse_all(|| CommandError::NotOwner(self.at));
                After::Lost
            }
            AppendOutcome::Unknown { cause } => {
                warn!(at = %self.at, %cause, "append outcome unknown, claiming again");
                After::Reclaim(Box::new(batch))
            }
        }
    }

    fn answered(&mut self, proven: Proven, batch: Batch, settled: Settled) -> After {
        batch.answer(&mut *self.store, settled, self.at);
        After::Serving(proven)
    }

    /// Decision time: never before what the partition or the batch already holds.
    fn now(&self, batch: &Batch) -> Timestamp {
        (self.clock)().max(batch.emitted_at())
    }

    /// Answers everybody that this process cannot serve the partition, until it shuts down.
    async fn refuse_rest(&mut self) {
        while let Some(inputs) = self.drain().await {
            let state = self.state.borrow().clone();
            for input in inputs {
                match input {
                    Input::Command { reply, .. } => drop(reply.send(Err(state.command_error(self.at)))),
                    Input::Read { reply, .. } => drop(reply.send(Err(state.read_failure(self.at)))),
                }
            }
        }
    }
}

/// Returns when the process shuts down.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An engine that was dropped without a shutdown stops as well.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

/// Answers a read from the owner's memory.
pub(super) fn answer_read(store: &dyn StateStore, at: ContextPartition, query: &ReadQuery) -> ReadAnswer {
    match query {
        ReadQuery::Aggregate(key) => ReadAnswer::Aggregate(match store.peek(key) {
            Peek::Loaded(entry) => Some(AggregateView {
                version: entry.version,
                workspace: entry.workspace,
                state: entry.state.to_json(),
                position: PositionVector::of(at, store.position().offset),
            }),
            Peek::Absent | Peek::NotLoaded => None,
        }),
        ReadQuery::History { key, after, limit } => ReadAnswer::History(match store.peek(key) {
            Peek::Loaded(_) => Some(store.history(key, *after, *limit)),
            Peek::Absent | Peek::NotLoaded => None,
        }),
        ReadQuery::Operation { tenant, id } => {
            ReadAnswer::Operation(store.ledger(*id).filter(|entry| entry.aggregate.scope.tenant == *tenant))
        }
    }
}
