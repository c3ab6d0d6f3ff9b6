//! What the log holds, as its raw records say, with nothing taken on trust from the readers that are under test.

use std::sync::Arc;

use annals_engine::log::{EventLog, RawBatch};
use annals_model::engine_record::Claim;
use annals_model::envelope::{Fingerprint, Record};
use annals_model::ids::{AggregateId, ContextId, EventId, Partition};
use annals_model::position::{ClaimEpoch, ContextPartition, Offset};
use anyhow::{Context as _, ensure};

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
    pub aggregate: AggregateId,
    /// Its number in the aggregate; an engine record repeats the one before.
    pub sequence: u64,
    /// No domain event: a command that was accepted with nothing to do.
    pub is_engine_record: bool,
    /// Place in its command.
    pub commit_index: u16,
    /// Records of its command.
    pub commit_size: u16,
}

/// One partition.
#[derive(Clone, Debug)]
pub struct LogPartition {
    /// The context's number.
    pub context: u8,
    /// The partition's.
    pub partition: u16,
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
        let mut partitions = Vec::new();
        for &context in contexts {
            for number in 0..log.partitions(context) {
                let at = ContextPartition { context, partition: Partition(number) };
                partitions.push(read(log, at).await.with_context(|| format!("{at} cannot be read"))?);
            }
        }
        Ok(Self { partitions })
    }

    /// Claims of all partitions: how often they changed hands.
    pub fn claims(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.claims).sum()
    }
}

async fn read(log: &dyn EventLog, at: ContextPartition) -> anyhow::Result<LogPartition> {
    let end = log.end(at).await?;
    let mut reader = log.reader(at, Offset::START).await?;
    let (context, partition) = (at.context.number, at.partition.0);
    let mut found = LogPartition { context, partition, records: vec![], claims: 0, owner: String::new() };
    let (mut newest_claim, mut batch) = (ClaimEpoch::ZERO, RawBatch::default());
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
                aggregate: envelope.aggregate_id,
                sequence: envelope.sequence.0,
                is_engine_record: record.is_engine_record(),
                commit_index: envelope.commit_index.0,
                commit_size: envelope.commit_size,
            });
        }
    }
    Ok(found)
}
