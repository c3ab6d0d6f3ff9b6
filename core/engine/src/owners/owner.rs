//! The owner of one partition: one task, one closed enum of inputs, one append in flight. While the partition is not this
//! process's, it stands by: it folds the log ahead, so that a claim has only the tail left to read.

#[cfg(feature = "seeded-bugs")]
mod mistakes;
mod owning;
mod serving;
mod standby;

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

pub(super) use self::owning::Owning;
use self::owning::{Ended, Proven, Unclaimed, Woken, stopped};
use super::PartitionState;
use super::replay::{ReplayError, catch_up, replay};
use crate::limits;
use crate::log::{ClaimError, Claimed};
use crate::outage::Outage;

/// Why one try to claim a partition failed.
enum TryError {
    /// Another try may succeed.
    Transient(String),
    /// None will.
    Final(String),
}

impl From<ReplayError> for TryError {
    fn from(error: ReplayError) -> Self {
        if error.is_transient() { Self::Transient(error.to_string()) } else { Self::Final(error.to_string()) }
    }
}

impl Owning {
    /// Owns the partition whenever it is assigned, stands by whenever it is not, until the process shuts down.
    pub(super) async fn run(mut self) {
        let mut fenced = 0;
        while let Woken::Assigned = self.stand_by(pause(fenced)).await {
            let ended = match self.claim().await {
                Ok(proven) => self.own(proven).await,
                Err(unclaimed) => unclaimed.into(),
            };
            match ended {
                Ended::Revoked => {
                    info!(at = %self.at, "released");
                    self.state.send_replace(PartitionState::NotOwner);
                    fenced = 0;
                }
                Ended::Fenced { served } => {
                    warn!(at = %self.at, "fenced by a newer claim");
                    self.store.clear();
                    self.state.send_replace(PartitionState::NotOwner);
                    if self.assignment.is_everything() {
                        break;
                    }
                    // Whoever served for long was not in a quarrel about the partition.
                    let quarrel = served < Duration::from_millis(limits::FENCED_PAUSE_MS_MAX);
                    fenced = if quarrel { fenced + 1 } else { 1 };
                }
                // Whoever is alone has nobody to leave it to.
                Ended::Stopped if self.assignment.is_everything() => break,
                Ended::Stopped => match self.refuse_while_assigned().await {
                    Woken::Revoked => self.store.clear(),
                    Woken::ShuttingDown => break,
                    Woken::Assigned => unreachable!("it waits for the end of an assignment"),
                },
                Ended::ShutDown => {
                    self.state.send_replace(PartitionState::NotOwner);
                    break;
                }
            }
        }
        self.refuse_rest().await;
    }

    /// Claims the partition and folds its log up to the barrier, try after try.
    async fn claim(&mut self) -> Result<Proven, Unclaimed> {
        let mut backoff_ms = limits::CLAIM_BACKOFF_MS_MIN;
        let failing = Outage::default();
        self.state.send_replace(PartitionState::Claiming);
        loop {
            // A claim fences whoever owns the partition: it is for those who should own it.
            if !self.assignment.includes(self.at) {
                return Err(Unclaimed::Revoked);
            }
            let mut stopping = self.stopping.clone();
            let given_up = async {
                stopped(&mut stopping).await;
                tokio::time::sleep(Duration::from_millis(limits::CLAIM_STOP_MS)).await;
            };
            let cause = tokio::select! {
                tried = self.try_claim() => match tried {
                    Ok(proven) => return Ok(proven),
                    Err(TryError::Transient(cause)) => cause,
                    Err(TryError::Final(cause)) => return Err(self.stop(cause)),
                },
                () = given_up => return Err(Unclaimed::ShuttingDown),
            };
            // Its end is told with the claim.
            match failing.begins() {
                true => warn!(at = %self.at, %cause, "claim failed, trying again"),
                false => debug!(at = %self.at, %cause, backoff_ms, "claim failed again"),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(backoff_ms)) => {}
                () = self.assignment.becomes(self.at, false) => return Err(Unclaimed::Revoked),
                () = stopped(&mut self.stopping) => return Err(Unclaimed::ShuttingDown),
            }
            backoff_ms = (backoff_ms * 2).min(limits::CLAIM_BACKOFF_MS_MAX);
        }
    }

    /// Folds what is there, then claims, then folds up to the barrier. A claim fences whoever owns the partition, who may be
    /// well: whoever cannot fold the log, because it is damaged or because its build is too old, must know that before.
    async fn try_claim(&mut self) -> Result<Proven, TryError> {
        let started = Instant::now();
        catch_up(&*self.log, self.at, &self.context, &mut *self.store).await?;
        // Whoever was stopped since the claim was written may be fenced by now: the proof is as old as the question.
        let asked = self.clock.moment();
        let Claimed { writer, barrier } =
            self.log.claim(self.at, self.owner.clone()).await.map_err(|error| match error {
                ClaimError::Unavailable(cause) => TryError::Transient(cause),
                failure @ (ClaimError::NoSuchPartition(_) | ClaimError::Read(_)) => {
                    TryError::Final(failure.to_string())
                }
            })?;
        replay(&*self.log, self.at, &self.context, &mut *self.store, barrier).await?;
        let position = self.store.position();
        self.clock.saw(position.emitted_at);
        let took_ms = started.elapsed().as_millis();
        info!(at = %self.at, ordinal = %position.ordinal, took_ms, "claimed");
        Ok(Proven { writer, at: asked })
    }

    fn stop(&self, cause: String) -> Unclaimed {
        error!(at = %self.at, %cause, "partition stopped");
        self.state.send_replace(PartitionState::Stopped { cause });
        Unclaimed::Stopped
    }

    /// Answers everybody that the partition is stopped, until it should be owned elsewhere.
    async fn refuse_while_assigned(&mut self) -> Woken {
        let Self { at, inputs, state, assignment, stopping, .. } = self;
        loop {
            tokio::select! {
                biased;
                () = stopped(stopping) => return Woken::ShuttingDown,
                () = assignment.becomes(*at, false) => return Woken::Revoked,
                input = inputs.recv() => match input {
                    Some(input) => input.refuse(&state.borrow(), *at),
                    None => return Woken::ShuttingDown,
                },
            }
        }
    }

    /// Answers everybody that this process cannot serve the partition, until it shuts down.
    async fn refuse_rest(&mut self) {
        loop {
            tokio::select! {
                biased;
                input = self.inputs.recv() => match input {
                    Some(input) => input.refuse(&self.state.borrow(), self.at),
                    None => return,
                },
                () = stopped(&mut self.stopping) => self.inputs.close(),
            }
        }
    }
}

/// How long a process that was fenced so many times in a row leaves the partition alone: an assignment that is out of date
/// is corrected meanwhile. Two processes that claim at once because both believe it is theirs would fence each other for
/// ever.
fn pause(fenced: u32) -> Duration {
    if fenced == 0 {
        return Duration::ZERO;
    }
    let longest = (limits::FENCED_PAUSE_MS_MIN << (fenced - 1).min(16)).min(limits::FENCED_PAUSE_MS_MAX);
    // Not the same for two processes.
    let chance = u64::try_from(uuid::Uuid::new_v4().as_u128() % 1_000).unwrap_or_default();
    Duration::from_millis(longest / 2 + longest * chance / 2_000)
}
