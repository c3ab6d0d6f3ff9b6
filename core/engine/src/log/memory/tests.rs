use std::sync::Arc;

use annals_model::ids::{ContextId, Partition};
use annals_model::position::{Checkpoint, ContextPartition, Offset};

use super::{Fault, Faults, MemoryLog, MemoryOptions};
use crate::log::checked::CheckedReader;
use crate::log::contract::records::TestRecords;
use crate::log::{AppendOutcome, EventLog, LogWriter, Owner, ProofOutcome};

const CONTEXT: ContextId = ContextId { number: 9, name: "things" };
const AT: ContextPartition = ContextPartition { context: CONTEXT, partition: Partition(0) };

/// An owner that treats every outcome as the contract says.
struct Honest {
    log: Arc<MemoryLog>,
    writer: Option<Box<dyn LogWriter>>,
    records: TestRecords,
    checkpoint: Checkpoint,
    /// What the log said about this owner's appends.
    outcomes: Vec<&'static str>,
}

impl Honest {
    async fn new(log: Arc<MemoryLog>) -> Self {
        let records = TestRecords::new(AT, log.partitions(CONTEXT));
        let checkpoint = Checkpoint::default();
        let mut owner = Self { log, writer: None, records, checkpoint, outcomes: Vec::new() };
        owner.claim().await;
        owner
    }

    /// Claims and folds up to the barrier. Answers how many records were new.
    async fn claim(&mut self) -> u64 {
        let owner = Owner { id: "honest".into(), address: String::new() };
        let claimed = loop {
            if let Ok(claimed) = self.log.claim(AT, owner.clone()).await {
                break claimed;
            }
        };
        let before = self.checkpoint.ordinal;
        let mut reader = CheckedReader::open(&*self.log, AT, self.checkpoint).await.unwrap();
        while reader.checkpoint().offset < claimed.barrier {
            reader.next().await.unwrap();
        }
        assert_eq!(reader.voided(), 0, "fencing failed");
        self.checkpoint = reader.checkpoint();
        self.records.claim_epoch = claimed.writer.claim_epoch();
        self.writer = Some(claimed.writer);
        self.checkpoint.ordinal.0 - before.0
    }

    /// Appends one command, until it is known to be there.
    async fn commit(&mut self, events: u16) {
        loop {
            let before = self.records.clone();
            let batch = self.records.batch(&[events]);
            let writer = self.writer.take().expect("an owner has a writer");
            let (outcome, again) = match writer.append(batch).await {
                AppendOutcome::Durable { writer, positions } => {
                    self.checkpoint.offset = positions.last().unwrap().after();
                    self.checkpoint.ordinal = self.records.ordinal;
                    self.writer = Some(writer);
                    ("durable", false)
                }
                AppendOutcome::Aborted { writer, .. } => {
                    self.writer = Some(writer);
                    ("aborted", true)
                }
                AppendOutcome::Fenced => {
                    assert_eq!(self.claim().await, 0, "a fenced append wrote something");
                    ("fenced", true)
                }
                AppendOutcome::Unknown { .. } => match self.claim().await {
                    0 => ("lost", true),
                    found => {
                        assert_eq!(found, u64::from(events), "part of an append is there");
                        ("found", false)
                    }
                },
            };
            self.outcomes.push(outcome);
            if !again {
                return;
            }
            // Nothing is there: the same command again, under the newest claim.
            self.records = before.claimed(self.records.claim_epoch.max(self.checkpoint.claim_epoch));
        }
    }
}

async fn ordinals(log: &MemoryLog) -> Vec<u64> {
    let mut reader = CheckedReader::open(log, AT, Checkpoint::default()).await.unwrap();
    let mut ordinals = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        ordinals.extend(batch.records.iter().map(|record| record.envelope.ordinal.0));
    }
    ordinals
}

#[tokio::test]
async fn each_fault_leads_to_the_state_that_its_outcome_promises() {
    for (fault, expected) in [
        (Fault::Abort, &["durable", "aborted", "durable"][..]),
        (Fault::UnknownCommitted, &["durable", "found"]),
        (Fault::UnknownLate, &["durable", "found"]),
        (Fault::UnknownLost, &["durable", "lost", "durable"]),
        (Fault::Fence, &["durable", "fenced", "durable"]),
        (Fault::FenceAfter, &["durable", "durable"]),
    ] {
        let log = MemoryLog::new(&[CONTEXT]);
        let mut owner = Honest::new(Arc::clone(&log)).await;
        log.set_faults(Faults::scripted([None, Some(fault)]));
        owner.commit(2).await;
        owner.commit(3).await;
        assert_eq!(owner.outcomes, expected, "{fault:?}");
        assert_eq!(ordinals(&log).await, [1, 2, 3, 4, 5], "{fault:?}");
        owner.commit(1).await;
        assert_eq!(ordinals(&log).await, [1, 2, 3, 4, 5, 6], "{fault:?}, afterwards");
    }
}

#[tokio::test]
async fn under_seeded_faults_every_command_is_there_once_and_in_order() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let log = MemoryLog::with_options(
            &[CONTEXT],
            MemoryOptions { holes_seed: Some(seed), read_records_max: 3, ..MemoryOptions::default() },
        );
        let mut owner = Honest::new(Arc::clone(&log)).await;
        log.set_faults(Faults::seeded(seed, 300));
        for commit in 0..30 {
            owner.commit(1 + commit % 4).await;
        }
        let all: Vec<u64> = (1..=owner.records.ordinal.0).collect();
        assert_eq!(ordinals(&log).await, all, "seed {seed}");
        seen.extend(owner.outcomes);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["aborted", "durable", "fenced", "found", "lost"]);
}

#[tokio::test]
async fn a_batch_in_flight_is_invisible_until_the_next_claim_decides_it() {
    let log = MemoryLog::new(&[CONTEXT]);
    let mut owner = Honest::new(Arc::clone(&log)).await;
    log.set_faults(Faults::scripted([Some(Fault::UnknownLate)]));
    let outcome = owner.writer.take().unwrap().append(owner.records.batch(&[2])).await;
    assert!(matches!(outcome, AppendOutcome::Unknown { .. }));
    assert_eq!(ordinals(&log).await, [0; 0]);
    log.claim_by_rival(AT);
    assert_eq!(ordinals(&log).await, [1, 2]);
}

#[tokio::test]
async fn proofs_claims_and_reads_fail_when_told() {
    let log = MemoryLog::new(&[CONTEXT]);
    let mut owner = Honest::new(Arc::clone(&log)).await;
    log.set_faults(Faults::seeded(1, 1_000).with_failing_reads(1_000));
    let proof = owner.writer.take().unwrap().prove().await;
    assert!(matches!(proof, ProofOutcome::Unknown { .. }), "{proof:?}");
    assert!(log.claim(AT, Owner { id: "x".into(), address: String::new() }).await.is_err());
    assert!(log.reader(AT, Offset::START).await.is_err());
    log.set_faults(Faults::none());
    assert!(log.reader(AT, Offset::START).await.is_ok());
}
