//! What does every log promise? One suite, run on every implementation; a new one is accepted when it passes.
//!
//! A check panics where the promise is broken, as tests do. Nothing here is used in production.

mod appends;
mod claims;
mod reads;
pub mod records;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use annals_model::ids::{ContextId, Partition};
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, RecordOffset};

use self::records::TestRecords;
use super::{AppendBatch, AppendOutcome, BoxFuture, Claimed, EventLog, LogWriter, Owner, RawBatch};

/// The contexts that a log under test must have, with at least two partitions each.
pub const CONTEXTS: [ContextId; 2] =
    [ContextId { number: 201, name: "contract_one" }, ContextId { number: 202, name: "contract_two" }];

/// Longest that a check waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// One promise: its name, and the check that panics if a new, empty log does not keep it.
pub type Check = (&'static str, fn(Arc<dyn EventLog>) -> BoxFuture<'static, ()>);

macro_rules! checks {
    ($($module:ident::$name:ident),+ $(,)?) => {
        /// Every promise.
        pub const CHECKS: &[Check] = &[$((stringify!($name), |log| Box::pin($module::$name(log)))),+];
    };
}

checks! {
    appends::an_append_is_read_back_in_order_at_its_positions,
    appends::an_append_is_seen_whole_or_not_at_all,
    appends::a_dropped_append_is_there_whole_or_not_at_all,
    appends::appends_of_many_partitions_do_not_meet,
    appends::an_append_that_cannot_be_is_aborted_and_the_writer_stays,
    claims::a_claim_fences_every_writer_before_it,
    claims::of_claims_at_the_same_time_the_newest_wins,
    claims::the_barrier_covers_the_claim_and_all_before_it,
    claims::a_proof_tells_the_owner_from_a_zombie,
    claims::an_unknown_partition_cannot_be_claimed,
    reads::a_new_log_is_empty,
    reads::a_reader_starts_exactly_where_it_is_told,
    reads::a_position_beyond_the_end_is_refused,
    reads::the_end_is_reached_by_reading,
    reads::a_waiting_reader_wakes_up,
    reads::a_tail_delivers_everything_as_it_comes,
    reads::a_checked_reader_delivers_whole_commands_and_resumes_anywhere,
    reads::meta_is_written_read_and_listed,
}

/// Runs every check on a log of its own, made by `make` with [`CONTEXTS`].
pub async fn log_contract<F: Future<Output = Arc<dyn EventLog>>>(make: impl Fn() -> F) {
    for (name, check) in CHECKS {
        tracing::info!(name, "checking");
        let checked = tokio::time::timeout(PATIENCE, check(make().await)).await;
        assert!(checked.is_ok(), "{name}: did not end within {PATIENCE:?}");
    }
}

/// A partition under test.
fn at(context: usize, partition: u16) -> ContextPartition {
    ContextPartition { context: CONTEXTS[context], partition: Partition(partition) }
}

fn owner(name: &str) -> Owner {
    Owner { id: name.into(), address: String::new() }
}

/// An owner as the engine is one, as far as a log can tell.
struct TestOwner {
    writer: Box<dyn LogWriter>,
    records: TestRecords,
    barrier: Offset,
}

impl TestOwner {
    async fn claim(log: &dyn EventLog, at: ContextPartition, name: &str) -> Self {
        let Claimed { writer, barrier } = log.claim(at, owner(name)).await.unwrap_or_else(|e| panic!("claim: {e}"));
        let records = TestRecords::new(at, log.partitions(at.context)).claimed(writer.claim_epoch());
        Self { writer, records, barrier }
    }

    fn claim_epoch(&self) -> ClaimEpoch {
        self.writer.claim_epoch()
    }

    /// Appends commands with so many events each, and insists that it works.
    async fn append(mut self, commits: &[u16]) -> (Self, AppendBatch, Vec<RecordOffset>) {
        let batch = self.records.batch(commits);
        let (writer, positions) = durable(self.writer.append(batch.clone()).await);
        self.writer = writer;
        (self, batch, positions)
    }
}

fn durable(outcome: AppendOutcome) -> (Box<dyn LogWriter>, Vec<RecordOffset>) {
    match outcome {
        AppendOutcome::Durable { writer, positions } => (writer, positions),
        AppendOutcome::Aborted { cause, .. } => panic!("append aborted: {cause}"),
        AppendOutcome::Fenced => panic!("append fenced, although no newer claim exists"),
        AppendOutcome::Unknown { cause } => panic!("append unknown: {cause}"),
    }
}

/// All records from `from` to the end, claims among them.
async fn read_all(log: &dyn EventLog, at: ContextPartition, from: Offset) -> Vec<(RecordOffset, Vec<u8>)> {
    let end = log.end(at).await.unwrap_or_else(|error| panic!("end: {error}"));
    let mut reader = log.reader(at, from).await.unwrap_or_else(|error| panic!("reader: {error}"));
    let mut batch = RawBatch::default();
    let mut all = Vec::new();
    while reader.position() < end {
        reader.next(&mut batch).await.unwrap_or_else(|error| panic!("read: {error}"));
        all.extend(batch.iter().map(|(offset, bytes)| (offset, bytes.to_vec())));
    }
    all
}

/// Without claims.
fn events(records: &[(RecordOffset, Vec<u8>)]) -> Vec<(RecordOffset, &[u8])> {
    let is_event = |bytes: &[u8]| !matches!(annals_model::engine_record::Claim::decode(bytes), Ok(Some(_)));
    records.iter().filter(|(_, bytes)| is_event(bytes)).map(|(offset, bytes)| (*offset, &bytes[..])).collect()
}

#[cfg(test)]
mod tests;
