//! A partition's owner: two producers that take turns, on a thread of their own, because a commit blocks.
//!
//! Two, because the brokers write a transaction's marker after they have acknowledged it, and the next transaction of
//! the same producer would be told to come back in 20 ms.

#[cfg(feature = "seeded-bugs")]
mod mistakes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use annals_model::envelope::Record;
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, Ordinal, RecordOffset};
use tokio::sync::{oneshot, watch};

use super::guard::Trouble;
use super::producer::{Destination, Failure, Outgoing, Producer, timed};
use super::settings::{Clients, FENCE_CHECK_KEY};
use super::tail::{self, Certainty};
use super::witness::{Finding, Witness};
use crate::limits;
use crate::log::admission::{Admitted, admit, follows};
use crate::log::claim_record::encode_claim;
use crate::log::{AppendBatch, AppendOutcome, BoxFuture, ClaimError, LogWriter, Owner, ProofOutcome};
use crate::owners::system_now;

const FENCE_CHECK: Outgoing<'_> = Outgoing { key: FENCE_CHECK_KEY, value: None, timestamp_ms: 0 };

/// What a claim needs to know.
#[derive(Clone, Debug)]
pub(super) struct Claiming {
    pub(super) clients: Clients,
    pub(super) at: ContextPartition,
    pub(super) to: Destination,
    /// Where to prove that a producer is not fenced.
    pub(super) proofs: Destination,
    /// Of both producers' ids, which end in `.a` and `.b`.
    pub(super) id: String,
    pub(super) owner: Owner,
    pub(super) witness: Witness,
    pub(super) trouble: watch::Receiver<Trouble>,
}

enum Job {
    Append(AppendBatch, oneshot::Sender<Result<Vec<RecordOffset>, Failure>>),
    Prove(oneshot::Sender<Result<(), Failure>>),
}

/// Claims on a thread of its own, which then serves the writer until it is dropped.
pub(super) async fn claim(claiming: Claiming) -> Result<KafkaWriter, ClaimError> {
    let (at, witness, trouble) = (claiming.at, claiming.witness.clone(), claiming.trouble.clone());
    let (reply, answer) = oneshot::channel();
    let (jobs, requests) = mpsc::sync_channel(1);
    let unavailable = |cause: String| ClaimError::Unavailable(cause);
    std::thread::Builder::new()
        .name(format!("kafka {at}"))
        .spawn(move || match claiming.run() {
            Ok((pair, claimed)) => {
                if reply.send(Ok((claimed, Arc::clone(&pair.is_spent)))).is_ok() {
                    pair.serve(&requests);
                }
            }
            Err(cause) => {
                // Nobody waits any more, maybe.
                let _ = reply.send(Err(cause));
            }
        })
        .map_err(|error| unavailable(format!("no thread for {at}: {error}")))?;
    let (claimed, is_spent) =
        answer.await.map_err(|_| unavailable("the claim's thread stopped".into()))?.map_err(unavailable)?;
    let end = claimed.after();
    let (claim_epoch, tail) = (ClaimEpoch(end.0), Ordinal::ZERO);
    Ok(KafkaWriter { jobs, at, claim_epoch, tail, end, witness, succeeded: false, is_spent, trouble })
}

impl Claiming {
    /// Both producers, and where the `$claim` lies.
    fn run(&self) -> Result<(Pair, RecordOffset), String> {
        let mut attempt = 1;
        loop {
            match self.attempt() {
                Ok(claimed) => return Ok(claimed),
                Err(Failure::Unknown(cause)) => return Err(cause),
                Err(Failure::Refused) if attempt == limits::KAFKA_CLAIM_ATTEMPTS_MAX => {
                    return Err(format!("another owner claimed in between, {attempt} times"));
                }
                // Another owner claims just now. Who of us two comes first is left to chance.
                Err(Failure::Refused) => std::thread::sleep(self.pause(attempt)),
            }
            attempt += 1;
        }
    }

    /// First all older owners lose both producers, then each of ours must still work: two owners who claim at the same
    /// time cannot both come through.
    fn attempt(&self) -> Result<(Pair, RecordOffset), Failure> {
        #[cfg(feature = "seeded-bugs")]
        mistakes::claim_begins(self.at);
        let connect = |suffix| {
            let id = format!("{}.{suffix}", self.id);
            #[cfg(feature = "seeded-bugs")]
            let id = mistakes::unheard(id, suffix);
            let config = self.clients.transactional(&id);
            Producer::connect(&config, self.to.clone())
        };
        let producers = [connect('a')?, connect('b')?];
        producers[0].transact_to(&self.proofs, [FENCE_CHECK].into_iter())?;
        let claim = encode_claim(&self.owner);
        let record = Outgoing { key: &[], value: Some(&claim), timestamp_ms: 0 };
        let placed = producers[1].transact([record].into_iter())?;
        let claimed = placed.first().ok_or_else(|| Failure::Unknown("a claim without position".into()))?;
        let (to, proofs) = (self.to.clone(), self.proofs.clone());
        Ok((Pair { producers, to, proofs, turn: 0, spent: None, is_spent: Arc::default() }, *claimed))
    }

    /// Longer each time, and not the same for two owners.
    fn pause(&self, attempt: u32) -> Duration {
        let chance = uuid::Uuid::new_v4().as_u128() % u128::from(limits::KAFKA_CLAIM_JITTER_MS_MAX);
        Duration::from_millis(u64::try_from(chance).unwrap_or_default() * u64::from(attempt))
    }
}

/// The two producers.
#[derive(Debug)]
struct Pair {
    producers: [Producer; 2],
    to: Destination,
    proofs: Destination,
    turn: usize,
    /// Why they must not be used again.
    spent: Option<String>,
    /// Tells the writer's handle that there is a reason.
    is_spent: Arc<AtomicBool>,
}

impl Pair {
    fn serve(mut self, requests: &mpsc::Receiver<Job>) {
        while let Ok(job) = requests.recv() {
            // Who does not wait any more reads from the log how it ended.
            match job {
                Job::Append(batch, reply) => {
                    #[cfg(feature = "seeded-bugs")]
                    mistakes::append_begins();
                    let appended = self.append(&batch);
                    let _ = reply.send(appended);
                    #[cfg(feature = "seeded-bugs")]
                    self.commit_what_was_answered();
                }
                Job::Prove(reply) => {
                    let proofs = self.proofs.clone();
                    let proved = self.transact(&proofs, [FENCE_CHECK].into_iter()).map(|_| ());
                    let _ = reply.send(proved);
                }
            }
        }
    }

    fn append(&mut self, batch: &AppendBatch) -> Result<Vec<RecordOffset>, Failure> {
        // Brokers refuse a record whose time is far ahead of theirs. Behind a clock that was ahead, the times of events are;
        // those of the topic's records are for nobody but the brokers.
        let now = system_now().0;
        let mut keys = Vec::with_capacity(batch.len());
        for bytes in batch.iter() {
            let record = Record::decode(RecordOffset(0), bytes);
            let record = record.map_err(|error| Failure::Unknown(format!("nothing was written: {error}")))?;
            keys.push((record.envelope.aggregate_id.0.into_bytes(), record.envelope.emitted_at.0.min(now) / 1_000));
        }
        let records = batch.iter().zip(&keys);
        let to = self.to.clone();
        self.transact(
            &to,
            records.map(|(bytes, (key, timestamp_ms))| Outgoing {
                key,
                value: Some(bytes),
                timestamp_ms: *timestamp_ms,
            }),
        )
    }

    fn transact<'a>(
        &mut self,
        to: &Destination,
        records: impl Iterator<Item = Outgoing<'a>>,
    ) -> Result<Vec<RecordOffset>, Failure> {
        if let Some(cause) = &self.spent {
            return Err(Failure::Unknown(format!("nothing was written, {cause} before")));
        }
        let producer = &self.producers[self.turn];
        #[cfg(feature = "seeded-bugs")]
        if mistakes::answers_before_the_commit() {
            return producer.produce_only(to, records);
        }
        self.turn = 1 - self.turn;
        let (outcome, took) = timed(|| producer.transact_to(to, records));
        self.spent = match &outcome {
            Ok(_) => producer.spent(took),
            Err(_) => Some("a transaction failed".into()),
        };
        self.is_spent.store(self.spent.is_some(), Ordering::Release);
        outcome
    }
}

/// The handle of a partition's owner. Dropping it ends its thread and its producers.
#[derive(Debug)]
pub(super) struct KafkaWriter {
    jobs: mpsc::SyncSender<Job>,
    at: ContextPartition,
    claim_epoch: ClaimEpoch,
    /// Of the partition's last record.
    tail: Ordinal,
    /// Behind the last record that is known to be this writer's, or its claim.
    end: Offset,
    witness: Witness,
    /// A newer claim was seen.
    succeeded: bool,
    is_spent: Arc<AtomicBool>,
    trouble: watch::Receiver<Trouble>,
}

impl KafkaWriter {
    /// Covers the `$claim`. What older owners had in flight was ended before it was written.
    pub(super) const fn barrier(&self) -> Offset {
        Offset(self.claim_epoch.0)
    }

    /// The partition's last ordinal below the barrier, which the first append must follow.
    pub(super) const fn behind(mut self, tail: Ordinal) -> Self {
        self.tail = tail;
        self
    }

    /// Never blocks: a writer has one job at a time, and the queue has room for it.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Job) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let gone = || Failure::Unknown("the writer's thread stopped".into());
        self.jobs.try_send(job(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// What became of an append that the brokers refused.
    async fn refused(mut self: Box<Self>, admitted: Admitted) -> AppendOutcome {
        match self.witness.look(self.end, self.claim_epoch).await {
            Ok(Finding::Succeeded(own)) if own.is_empty() => AppendOutcome::Fenced,
            // It was committed before the newer claim, and only the answer was lost.
            Ok(Finding::Succeeded(positions)) if admitted.count() == positions.len() as u64 => {
                self.succeeded = true;
                self.admit_next(admitted, &positions);
                AppendOutcome::Durable { writer: self, positions }
            }
            Ok(Finding::Succeeded(own)) => {
                AppendOutcome::Unknown { cause: format!("{} of {} records are there", own.len(), admitted.count()) }
            }
            Ok(Finding::Unclaimed) => AppendOutcome::Unknown { cause: UNCLAIMED.into() },
            Err(error) => AppendOutcome::Unknown { cause: format!("refused by the brokers, and {error}") },
        }
    }

    /// Checks that the batch follows the partition's last record. What that is was found at the claim by a look at the
    /// last few records; where the first batch says otherwise, it is found again for certain.
    async fn admit(&mut self, batch: &AppendBatch) -> Result<Admitted, String> {
        let admitted = admit(batch, self.claim_epoch)?;
        let Err(cause) = follows(self.tail, admitted) else { return Ok(admitted) };
        if self.end > self.barrier() {
            return Err(cause);
        }
        let found = tail::last_ordinal_before(&self.witness, self.barrier(), Certainty::Certain).await;
        self.tail = found.map_err(|error| error.to_string())?;
        follows(self.tail, admitted).map(|()| admitted)
    }

    fn admit_next(&mut self, admitted: Admitted, positions: &[RecordOffset]) {
        self.tail = admitted.last;
        self.end = positions.last().map_or(self.end, |last| last.after());
    }
}

const UNCLAIMED: &str = "refused by the brokers, but nobody else claimed: its own transaction timed out";

impl LogWriter for KafkaWriter {
    fn claim_epoch(&self) -> ClaimEpoch {
        self.claim_epoch
    }

    fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Acquire) && !self.succeeded
    }

    fn append(mut self: Box<Self>, batch: AppendBatch) -> BoxFuture<'static, AppendOutcome> {
        Box::pin(async move {
            let admitted = match self.admit(&batch).await {
                Ok(admitted) => admitted,
                Err(cause) => {
                    tracing::error!(at = %self.at, cause, "append refused");
                    return AppendOutcome::Aborted { writer: self, cause };
                }
            };
            if self.succeeded {
                return AppendOutcome::Fenced;
            }
            let trouble = self.trouble.borrow().clone();
            if let Some(trouble) = trouble {
                return AppendOutcome::Aborted { writer: self, cause: trouble.to_string() };
            }
            match self.ask(|reply| Job::Append(batch, reply)).await {
                Ok(positions) => {
                    self.admit_next(admitted, &positions);
                    AppendOutcome::Durable { writer: self, positions }
                }
                Err(Failure::Refused) => self.refused(admitted).await,
                Err(Failure::Unknown(cause)) => AppendOutcome::Unknown { cause },
            }
        })
    }

    /// A read could be answered by a broker that does not know yet that it no longer leads the partition. So this
    /// commits a record that no reader delivers: the transaction's coordinator refuses it if a newer claim exists.
    fn prove(self: Box<Self>) -> BoxFuture<'static, ProofOutcome> {
        Box::pin(async move {
            if self.succeeded {
                return ProofOutcome::Fenced;
            }
            match self.ask(Job::Prove).await {
                Ok(()) => ProofOutcome::Owner { writer: self },
                Err(Failure::Refused) => match self.witness.look(self.end, self.claim_epoch).await {
                    Ok(Finding::Succeeded(_)) => ProofOutcome::Fenced,
                    Ok(Finding::Unclaimed) => ProofOutcome::Unknown { cause: UNCLAIMED.into() },
                    Err(error) => ProofOutcome::Unknown { cause: format!("refused by the brokers, and {error}") },
                },
                Err(Failure::Unknown(cause)) => ProofOutcome::Unknown { cause },
            }
        })
    }
}

/// Shared by a log's readers and writers alike.
pub(super) type ClaimTurn = Arc<tokio::sync::Mutex<()>>;
