//! Serving: a batch at a time, one append in flight, nobody answered before it is durable.

use std::time::Duration;

use annals_model::time::Timestamp;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::owning::{Ended, Owning, Proven, Unclaimed, stopped};
use crate::command::CommandError;
use crate::limits;
use crate::log::{AppendOutcome, LogWriter, ProofOutcome};
use crate::owners::PartitionState;
use crate::owners::batch::{Batch, Settled};
use crate::owners::clock::Moment;
use crate::owners::mailbox::Input;

/// What an owner does next.
enum Next {
    Serve(Vec<Input>),
    /// These are the last: the partition is given up behind them.
    Release(Vec<Input>),
    ShutDown,
}

/// How a batch left the owner.
pub(super) enum After {
    /// Still the owner.
    Serving(Proven),
    /// Nobody knows what became of the append: claim again, then answer these from the log.
    Reclaim(Box<Batch>),
    /// Somebody else owns the partition.
    Lost,
}

impl Owning {
    /// Serves until the partition is revoked or lost, or the process shuts down.
    pub(super) async fn own(&mut self, mut proven: Proven) -> Ended {
        let since = Instant::now();
        loop {
            self.state.send_replace(PartitionState::Serving { claim_epoch: proven.writer.claim_epoch() });
            let (inputs, released) = match self.drain().await {
                Next::Serve(inputs) => (inputs, false),
                Next::Release(inputs) => (inputs, true),
                Next::ShutDown => return Ended::ShutDown,
            };
            let after = self.serve(proven, inputs).await;
            #[cfg(feature = "seeded-bugs")]
            let after = self.mistaken(after).await;
            match after {
                After::Serving(_) if released => return Ended::Revoked,
                After::Serving(next) if next.writer.is_spent() => match self.claim().await {
                    Ok(next) => proven = next,
                    Err(unclaimed) => return unclaimed.into(),
                },
                After::Serving(next) => proven = next,
                After::Lost => return Ended::Fenced { served: since.elapsed() },
                After::Reclaim(batch) => match self.claim().await {
                    Ok(next) => {
                        proven = next;
                        batch.answer_from_ledger(&mut *self.store).await;
                    }
                    Err(unclaimed) => return self.leave_open(*batch, &unclaimed),
                },
            }
        }
    }

    /// A batch whose outcome this process will not learn. Its new owner knows: what was in flight is settled before it
    /// claims.
    fn leave_open(&mut self, batch: Batch, unclaimed: &Unclaimed) -> Ended {
        // The store is behind the log by this batch, or not: both are positions to go on from.
        match unclaimed {
            Unclaimed::Revoked => {
                batch.refuse_all(|| CommandError::NotOwner(self.at));
                Ended::Revoked
            }
            Unclaimed::ShuttingDown => {
                batch.refuse_all(|| CommandError::Unanswered);
                Ended::ShutDown
            }
            Unclaimed::Stopped => {
                batch.refuse_all(|| CommandError::Unanswered);
                Ended::Stopped
            }
        }
    }

    /// Takes what is queued, at least one input unless it is time to go.
    async fn drain(&mut self) -> Next {
        let mut inputs = Vec::new();
        if *self.stopping.borrow() {
            // Under load the queue is never found empty: what is in it now is answered, nothing more gets in.
            self.inputs.close();
        } else if !self.assignment.includes(self.at) {
            // The same, but who comes later finds somebody else.
            while let Ok(input) = self.inputs.try_recv()
                && inputs.len() < limits::OWNER_QUEUE_INPUTS_MAX
            {
                inputs.push(input);
            }
            return Next::Release(inputs);
        }
        tokio::select! {
            // What is queued first: a shutdown answers it all.
            biased;
            _ = self.inputs.recv_many(&mut inputs, limits::OWNER_BATCH_INPUTS_MAX) => {}
            () = stopped(&mut self.stopping) => {
                self.inputs.close();
                self.inputs.recv_many(&mut inputs, limits::OWNER_BATCH_INPUTS_MAX).await;
            }
            () = self.assignment.becomes(self.at, false) => return Next::Release(inputs),
        }
        if inputs.is_empty() { Next::ShutDown } else { Next::Serve(inputs) }
    }

    pub(super) async fn serve(&mut self, proven: Proven, inputs: Vec<Input>) -> After {
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
                        if reply.is_behind_undecided() {
                            reply.send(Err(CommandError::BehindUndecided));
                        } else if deadline > Instant::now() {
                            // Otherwise the caller has gone: writing now would only surprise them.
                            let now = self.now(&batch);
                            batch.decide(&self.context, &mut *self.store, request, now, reply).await;
                        }
                    }
                    Input::Read { query, at_least, reply } => {
                        batch.at_least = batch.at_least.max(at_least);
                        batch.reads.push((query, reply));
                    }
                }
            }
            let after = self.settle(writer, proven_at, batch).await;
            self.store.release();
            match after {
                After::Serving(next) => proven = Some(next),
                After::Lost => {
                    inputs.for_each(|input| input.refuse(&PartitionState::NotOwner, self.at));
                    return After::Lost;
                }
                reclaim @ After::Reclaim(_) => {
                    Batch::refuse_inputs(inputs);
                    return reclaim;
                }
            }
        }
        match proven {
            Some(proven) => After::Serving(proven),
            None => unreachable!("put back at the end of each pass"),
        }
    }

    /// Makes a batch durable, or proves ownership if it has nothing to append, and only then answers.
    async fn settle(&mut self, writer: Box<dyn LogWriter>, proven_at: Moment, mut batch: Batch) -> After {
        let started = self.clock.moment();
        if batch.append.is_empty() {
            let fresh_enough = Duration::from_millis(limits::OWNERSHIP_PROOF_MS_MAX);
            // Somebody was told of a later position than this one: by whoever owns the partition now, if that is another.
            let is_behind = batch.at_least > self.store.position().offset;
            if !is_behind && started.is_within(&proven_at, fresh_enough) {
                return self.answered(Proven { writer, at: proven_at }, batch, Settled::Nothing).await;
            }
            return match writer.prove().await {
                ProofOutcome::Owner { writer } => {
                    self.answered(Proven { writer, at: started }, batch, Settled::Nothing).await
                }
                ProofOutcome::Fenced => {
                    self.meters.fenced();
                    batch.refuse_all(|| CommandError::NotOwner(self.at));
                    After::Lost
                }
                ProofOutcome::Unknown { cause } => {
                    self.meters.unknown();
                    self.begins("ownership could not be proved, claiming again", &cause);
                    After::Reclaim(Box::new(batch))
                }
            };
        }
        match writer.append(std::mem::take(&mut batch.append)).await {
            AppendOutcome::Durable { writer, positions } => {
                self.meters.durable(started.elapsed());
                if self.outage.ends() {
                    info!(at = %self.at, "appends are durable again");
                }
                self.answered(Proven { writer, at: started }, batch, Settled::Durable(positions)).await
            }
            AppendOutcome::Aborted { writer, cause } => {
                self.begins("append aborted", &cause);
                batch.refuse_all(|| CommandError::Aborted { cause: cause.clone() });
                After::Serving(Proven { writer, at: proven_at })
            }
            AppendOutcome::Fenced => {
                self.meters.fenced();
                batch.refuse_all(|| CommandError::NotOwner(self.at));
                After::Lost
            }
            AppendOutcome::Unknown { cause } => {
                self.meters.unknown();
                self.begins("append outcome unknown, claiming again", &cause);
                After::Reclaim(Box::new(batch))
            }
        }
    }

    /// Says that the log does not take what it is given, unless that was said.
    fn begins(&self, what: &'static str, cause: &str) {
        match self.outage.begins() {
            true => warn!(at = %self.at, %cause, "{what}"),
            false => debug!(at = %self.at, %cause, "{what}"),
        }
    }

    async fn answered(&mut self, proven: Proven, batch: Batch, settled: Settled) -> After {
        batch.answer(&mut *self.store, settled, self.at).await;
        self.clock.saw(self.store.position().emitted_at);
        After::Serving(proven)
    }

    /// Decision time: behind what the partition or the batch already holds, also where the clock stands still or is held
    /// back. Whoever sorts by time has the order in which commands were recorded.
    fn now(&self, batch: &Batch) -> Timestamp {
        self.clock.now().max(batch.emitted_at().after())
    }
}
