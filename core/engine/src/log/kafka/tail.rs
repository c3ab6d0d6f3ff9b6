//! The last record of a partition, looked for from its end.

use annals_model::engine_record::Claim;
use annals_model::envelope::Record;
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, Ordinal};

use super::KafkaLog;
use crate::limits;
use crate::log::{RawBatch, ReadError};

/// Of the whole partition.
pub(super) async fn last_ordinal(log: &KafkaLog, at: ContextPartition) -> Result<Ordinal, ReadError> {
    let end = log.positions.end(&log.topic(at)?, at.partition.0).await?;
    last_ordinal_before(log, at, end).await
}

/// Reads back from `end`, twice as far each time that only claims and markers are found.
pub(super) async fn last_ordinal_before(
    log: &KafkaLog,
    at: ContextPartition,
    end: Offset,
) -> Result<Ordinal, ReadError> {
    let mut back = limits::EXTENT_OFFSETS_MIN;
    loop {
        let from = Offset(end.0.saturating_sub(back));
        if let Some(ordinal) = last_between(log, at, from, end).await? {
            return Ok(ordinal);
        }
        if from == Offset::START {
            return Ok(Ordinal::ZERO);
        }
        back = back.saturating_mul(2);
    }
}

async fn last_between(
    log: &KafkaLog,
    at: ContextPartition,
    from: Offset,
    end: Offset,
) -> Result<Option<Ordinal>, ReadError> {
    let mut reader = log.open(&log.lookups, at, from).await?;
    let mut batch = RawBatch::default();
    let (mut claim_epoch, mut last) = (ClaimEpoch::ZERO, None);
    while reader.position() < end {
        batch.clear();
        reader.read(&mut batch).await?;
        for (offset, bytes) in batch.iter().filter(|(offset, _)| offset.at() < end) {
            let corrupt =
                |error: annals_model::avro::DecodeError| ReadError::Corrupt { at, offset, cause: error.to_string() };
            if Claim::decode(bytes).map_err(corrupt)?.is_some() {
                claim_epoch = ClaimEpoch(offset.after().0);
                continue;
            }
            let envelope = Record::decode(offset, bytes).map_err(corrupt)?.envelope;
            // As every reader does: what a newer claim made void is no history.
            if envelope.claim_epoch >= claim_epoch {
                last = Some(envelope.ordinal);
            }
        }
    }
    Ok(last)
}
