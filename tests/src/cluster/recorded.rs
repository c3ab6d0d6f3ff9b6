//! What the log holds, as its raw records say, with nothing taken on trust from the readers that are under test.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_engine::log::{EventLog, RawBatch};
use annals_model::engine_record::Claim;
use annals_model::envelope::{Fingerprint, Record};
use annals_model::ids::{ContextId, EventId, Partition};
use annals_model::position::{ClaimEpoch, ContextPartition, Offset};
use anyhow::{Context as _, ensure};

use super::history::AggregateName;

/// One record that is no claim.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Where it lies.
    pub offset: u64,
    /// Its number in the partition.
    pub ordinal: u64,
    /// The claim of whoever wrote it.
    pub claim_epoch: u64,
    /// The newest claim before it.
    pub newest_claim: u64,
    /// Its id.
    pub event_id: EventId,
    /// The request, on the first record of a command.
    pub request: Option<(Arc<str>, Fingerprint)>,
    /// The aggregate.
    pub aggregate: AggregateName,
    /// Its number in the aggregate; an engine record repeats the one before.
    pub sequence: u64,
    /// No domain event: a command that was accepted with nothing to do.
    pub is_engine_record: bool,
    /// Place in its command.
    pub commit_index: u16,
    /// Records of its command.
    pub commit_size: u16,
}

/// Where a history ends that was there before anybody worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The first position behind it.
    pub offset: Offset,
    /// Ordinal of its last record.
    pub ordinal: u64,
    /// Its newest claim.
    pub claim: ClaimEpoch,
}

impl Default for Mark {
    fn default() -> Self {
        Self { offset: Offset::START, ordinal: 0, claim: ClaimEpoch::ZERO }
    }
}

/// One partition.
#[derive(Clone, Debug)]
pub struct LogPartition {
    /// The context's number.
    pub context: u8,
    /// The partition's.
    pub partition: u16,
    /// Ordinal of the last record before them.
    pub ordinal_before: u64,
    /// Its records, in order.
    pub records: Vec<LogRecord>,
    /// How many claims lie between them.
    pub claims: u64,
    /// Where the newest of them says that its owner is reached; empty before the first.
    pub owner: String,
}

/// All that was asked for.
#[derive(Clone, Debug, Default)]
pub struct LogContent {
    /// By context and partition.
    pub partitions: Vec<LogPartition>,
}

impl LogContent {
    /// Reads every partition up to where it ends now.
    pub async fn read(log: &dyn EventLog, contexts: &[ContextId]) -> anyhow::Result<Self> {
        Self::read_behind(log, contexts, &BTreeMap::new()).await
    }

    /// The same behind a history that was there before.
    pub async fn read_behind(
        log: &dyn EventLog,
        contexts: &[ContextId],
        marks: &BTreeMap<(u8, u16), Mark>,
    ) -> anyhow::Result<Self> {
        let mut partitions = Vec::new();
        for &context in contexts {
            for number in 0..log.partitions(context) {
                let at = ContextPartition { context, partition: Partition(number) };
                let mark = marks.get(&(context.number, number)).copied().unwrap_or_default();
                partitions.push(read(log, at, mark).await.with_context(|| format!("{at} cannot be read"))?);
            }
        }
        Ok(Self { partitions })
    }

    /// Claims of all partitions: how often they changed hands.
    pub fn claims(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.claims).sum()
    }
}

async fn read(log: &dyn EventLog, at: ContextPartition, mark: Mark) -> anyhow::Result<LogPartition> {
    let end = log.end(at).await?;
    let mut reader = log.reader(at, mark.offset).await?;
    let (context, partition) = (at.context.number, at.partition.0);
    let (ordinal_before, owner) = (mark.ordinal, String::new());
    let mut found = LogPartition { context, partition, ordinal_before, records: vec![], claims: 0, owner };
    let (mut newest_claim, mut batch) = (mark.claim, RawBatch::default());
    while reader.position() < end {
        reader.next(&mut batch).await?;
        ensure!(!batch.is_empty() || reader.position() >= end, "it ends at {}, not {end}", reader.position());
        for (offset, bytes) in batch.iter() {
            if let Some(claim) = Claim::decode(bytes)? {
                newest_claim = ClaimEpoch(offset.after().0);
                found.claims += 1;
                claim.address.clone_into(&mut found.owner);
                continue;
            }
            let record = Record::decode(offset, bytes)?;
            let envelope = &record.envelope;
            let request = envelope.request.map(|request| (Arc::from(request.client_request_id), request.fingerprint));
            found.records.push(LogRecord {
                offset: offset.0,
                ordinal: envelope.ordinal.0,
                claim_epoch: envelope.claim_epoch.0,
                newest_claim: newest_claim.0,
                event_id: envelope.event_id,
                request,
                aggregate: AggregateName {
                    about: envelope.subject(),
                    of: format!("{}.{}", at.context.name, envelope.aggregate_type).into(),
                    id: envelope.aggregate_id,
                },
                sequence: envelope.sequence.0,
                is_engine_record: record.is_engine_record(),
                commit_index: envelope.commit_index.0,
                commit_size: envelope.commit_size,
            });
        }
    }
    Ok(found)
}
