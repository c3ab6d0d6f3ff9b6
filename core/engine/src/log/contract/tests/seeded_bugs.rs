//! Logs with one bug each, and what the contract says about them.

use std::sync::Arc;

use annals_model::position::{ClaimEpoch, ContextPartition, Offset};

use crate::log::contract::{CHECKS, CONTEXTS, PATIENCE};
use crate::log::layer::Layer;
use crate::log::memory::MemoryLog;
use crate::log::{
    AppendBatch, AppendOutcome, BoxFuture, ClaimError, Claimed, EventLog, LogReader, LogWriter, Owner, ProofOutcome,
    RawBatch, ReadError,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// Two records change places.
    Reorders,
    /// The last record of a long batch is missing.
    Drops,
    /// An append becomes visible in two pieces.
    ShowsHalf,
    /// Waiting readers are never woken.
    Sleeps,
    /// A reader starts one record too late.
    StartsLate,
    /// A tail does.
    TailStartsLate,
}

/// The test log behind a bug.
#[derive(Debug)]
struct Buggy {
    inner: Arc<MemoryLog>,
    bug: Bug,
}

impl Layer for Buggy {
    fn beneath(&self) -> &dyn EventLog {
        &*self.inner
    }
    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Box::pin(async move {
            let Claimed { writer, barrier } = self.inner.claim(at, owner).await?;
            if self.bug != Bug::ShowsHalf {
                return Ok(Claimed { writer, barrier });
            }
            let writer = Box::new(HalvingWriter { inner: Arc::clone(&self.inner), at, writer });
            Ok(Claimed { writer, barrier })
        })
    }
    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Box::pin(async move {
            let late = self.bug == Bug::StartsLate && from > Offset::START;
            let end = self.inner.end(at).await?;
            let from = if late { Offset(from.0 + 1).min(end) } else { from };
            let reader = BuggyReader { reader: self.inner.reader(at, from).await?, bug: self.bug };
            Ok(Box::new(reader) as Box<dyn LogReader>)
        })
    }
    fn tail(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        let late = u64::from(self.bug == Bug::TailStartsLate);
        self.inner.tail(at, Offset(from.0 + late))
    }
}

#[derive(Debug)]
struct BuggyReader {
    reader: Box<dyn LogReader>,
    bug: Bug,
}

impl LogReader for BuggyReader {
    fn position(&self) -> Offset {
        self.reader.position()
    }
    fn next<'a>(&'a mut self, batch: &'a mut RawBatch) -> BoxFuture<'a, Result<(), ReadError>> {
        Box::pin(async move {
            self.reader.next(batch).await?;
            let mut records: Vec<_> = batch.iter().map(|(offset, bytes)| (offset, bytes.to_vec())).collect();
            if records.len() > 5 {
                match self.bug {
                    Bug::Reorders => records.swap(3, 4),
                    Bug::Drops => drop(records.pop()),
                    Bug::ShowsHalf | Bug::Sleeps | Bug::StartsLate | Bug::TailStartsLate => {}
                }
            }
            batch.clear();
            records.iter().for_each(|(offset, bytes)| batch.push(*offset, bytes));
            Ok(())
        })
    }
    fn wait(&mut self) -> BoxFuture<'_, Result<(), ReadError>> {
        if self.bug == Bug::Sleeps { Box::pin(std::future::pending()) } else { self.reader.wait() }
    }
}

/// Writes around the inner writer, one half after the other.
#[derive(Debug)]
struct HalvingWriter {
    inner: Arc<MemoryLog>,
    at: ContextPartition,
    writer: Box<dyn LogWriter>,
}

impl LogWriter for HalvingWriter {
    fn claim_epoch(&self) -> ClaimEpoch {
        self.writer.claim_epoch()
    }
    fn append(mut self: Box<Self>, batch: AppendBatch) -> BoxFuture<'static, AppendOutcome> {
        Box::pin(async move {
            self.writer = match self.writer.prove().await {
                ProofOutcome::Owner { writer } => writer,
                ProofOutcome::Fenced => return AppendOutcome::Fenced,
                ProofOutcome::Unknown { cause } => return AppendOutcome::Unknown { cause },
            };
            let mut positions = Vec::new();
            for (index, bytes) in batch.iter().enumerate() {
                if index == batch.len() / 2 {
                    tokio::task::yield_now().await;
                }
                positions.push(self.inner.push_unchecked(self.at, bytes));
            }
            AppendOutcome::Durable { writer: self, positions }
        })
    }
    fn prove(self: Box<Self>) -> BoxFuture<'static, ProofOutcome> {
        self.writer.prove()
    }
}

/// Runs the suite on a log with a seeded bug, up to the first check that catches it, and answers what that said.
async fn caught(make: impl Fn() -> Arc<dyn EventLog>) -> String {
    for (name, check) in CHECKS {
        let checked = tokio::time::timeout(PATIENCE, tokio::spawn(check(make())));
        match checked.await {
            Err(_) => return format!("{name}: did not end"),
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let panic = error.into_panic();
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                return format!("{name}: {}", text.unwrap_or_default());
            }
        }
    }
    "nothing".to_owned()
}

async fn caught_with(bug: Bug) -> String {
    caught(move || Arc::new(Buggy { inner: MemoryLog::new(&CONTEXTS), bug })).await
}

#[tokio::test]
async fn the_contract_catches_a_log_that_forgets_fencing() {
    let said = caught(|| {
        let log = MemoryLog::new(&CONTEXTS);
        log.forget_fencing();
        log
    })
    .await;
    assert!(said.starts_with("a_claim_fences_every_writer_before_it: a zombie's append"), "{said}");
}

#[tokio::test]
async fn the_contract_catches_a_log_that_reorders() {
    let said = caught_with(Bug::Reorders).await;
    assert!(said.starts_with("an_append_is_read_back_in_order_at_its_positions"), "{said}");
}

#[tokio::test]
async fn the_contract_catches_a_log_that_drops() {
    let said = caught_with(Bug::Drops).await;
    assert!(said.starts_with("an_append_is_read_back_in_order_at_its_positions"), "{said}");
}

#[tokio::test]
async fn the_contract_catches_a_log_that_shows_half_an_append() {
    let said = caught_with(Bug::ShowsHalf).await;
    assert!(said.starts_with("an_append_is_seen_whole_or_not_at_all"), "{said}");
    assert!(said.contains("part of an append was seen"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn the_contract_catches_a_log_that_does_not_wake_its_readers() {
    let said = caught_with(Bug::Sleeps).await;
    assert!(said.starts_with("a_waiting_reader_wakes_up"), "{said}");
}

#[tokio::test]
async fn the_contract_catches_a_log_that_starts_late() {
    let said = caught_with(Bug::StartsLate).await;
    assert!(said.starts_with("a_reader_starts_exactly_where_it_is_told"), "{said}");
}

#[tokio::test]
async fn the_contract_catches_a_log_whose_tails_start_late() {
    let said = caught_with(Bug::TailStartsLate).await;
    assert!(said.starts_with("a_tail_delivers_everything_as_it_comes"), "{said}");
}
