//! What does it mean that the brokers refuse a writer? Only the log itself can say.
//!
//! A producer is refused because its id was registered again, or because its own transaction took longer than it may (a
//! process that was stopped for a while). Both look the same. And a refusal does not say that nothing was committed:
//! the answer to a first request may have been lost, and it is the second one that is refused. But a newer claim's
//! record lies behind everything that the writer before it committed: whoever has read up to it knows.

use std::sync::Arc;
use std::time::Duration;

use annals_model::engine_record::Claim;
use annals_model::envelope::Record;
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, RecordOffset};

use super::positions::Positions;
use super::reader::PartitionReader;
use super::reader_clients::ReaderClients;
use crate::limits;
use crate::log::{RawBatch, ReadError};

/// Reads what lies behind a writer.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pub(super) lookups: Arc<ReaderClients>,
    pub(super) positions: Arc<Positions>,
    pub(super) at: ContextPartition,
    pub(super) topic: String,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A newer claim, and where the writer's own records before it lie: all that will ever be visible of them.
    Succeeded(Vec<RecordOffset>),
    /// No newer claim: the writer's own transaction timed out, or somebody who claimed has gone in the middle of it.
    Unclaimed,
}

impl Witness {
    /// Looks for a claim newer than `own` behind `from`. One that is being made is waited for, for a bounded time.
    pub(super) async fn look(&self, from: Offset, own: ClaimEpoch) -> Result<Finding, ReadError> {
        let patience = Duration::from_millis(limits::KAFKA_SUCCESSOR_MS_MAX);
        let mut own_records = Vec::new();
        match tokio::time::timeout(patience, self.find(from, own, &mut own_records)).await {
            Ok(Ok(())) => Ok(Finding::Succeeded(own_records)),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Finding::Unclaimed),
        }
    }

    async fn find(&self, from: Offset, own: ClaimEpoch, found: &mut Vec<RecordOffset>) -> Result<(), ReadError> {
        let (topic, positions) = (self.topic.clone(), Arc::clone(&self.positions));
        let mut reader = PartitionReader::open(&self.lookups, positions, self.at, topic, from).await?;
        let mut batch = RawBatch::default();
        loop {
            batch.clear();
            if !reader.read(&mut batch).await? {
                reader.wait().await?;
            }
            for (offset, bytes) in batch.iter() {
                let corrupt = |error: annals_model::avro::DecodeError| ReadError::Corrupt {
                    at: self.at,
                    offset,
                    cause: error.to_string(),
                };
                if Claim::decode(bytes).map_err(corrupt)?.is_some() {
                    if offset.after().0 > own.0 {
                        return Ok(());
                    }
                } else if Record::decode(offset, bytes).map_err(corrupt)?.envelope.claim_epoch == own {
                    found.push(offset);
                }
            }
        }
    }
}
