//! The last record of a partition, looked for from its end.

use std::sync::Arc;

use annals_model::engine_record::Claim;
use annals_model::envelope::Record;
use annals_model::position::{ClaimEpoch, Offset, Ordinal};

use super::reader::PartitionReader;
use super::witness::Witness;
use crate::limits;
use crate::log::{RawBatch, ReadError};

/// How much is read to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The last few records. What a writer wrote although it was fenced is taken for history where the claim that makes it
    /// void lies before them: no broker lets such a record in.
    Likely,
    /// From a claim before it on, however far back that lies.
    Certain,
}

/// Of all of the partition that readers can be given: whoever asks how far behind a read model is must not wait for what
/// a dead owner left open.
pub(super) async fn last_ordinal(of: &Witness) -> Result<Ordinal, ReadError> {
    let end = of.positions.readable_end(&of.topic, of.at.partition.0).await?;
    last_ordinal_before(of, end, Certainty::Likely).await
}

/// Reads back from `end`, twice as far each time that nothing was found that can be told.
pub(super) async fn last_ordinal_before(of: &Witness, end: Offset, certainty: Certainty) -> Result<Ordinal, ReadError> {
    let mut back = limits::EXTENT_OFFSETS_MIN;
    loop {
        let from = Offset(end.0.saturating_sub(back));
        if let Some(ordinal) = last_between(of, from, end, certainty).await? {
            return Ok(ordinal);
        }
        if from == Offset::START {
            return Ok(Ordinal::ZERO);
        }
        back = back.saturating_mul(2);
    }
}

async fn last_between(
    of: &Witness,
    from: Offset,
    end: Offset,
    certainty: Certainty,
) -> Result<Option<Ordinal>, ReadError> {
    let (at, positions, topic) = (of.at, Arc::clone(&of.positions), of.topic.clone());
    let mut reader = PartitionReader::open(&of.lookups, positions, at, topic, from).await?;
    let mut batch = RawBatch::default();
    let (mut claim_epoch, mut last) = (ClaimEpoch::ZERO, None);
    // Before the first claim that is seen, nobody knows what is void.
    let mut is_certain = certainty == Certainty::Likely || from == Offset::START;
    while reader.position() < end {
        batch.clear();
        reader.read(&mut batch).await?;
        for (offset, bytes) in batch.iter().filter(|(offset, _)| offset.at() < end) {
            let corrupt =
                |error: annals_model::avro::DecodeError| ReadError::Corrupt { at, offset, cause: error.to_string() };
            if Claim::decode(bytes).map_err(corrupt)?.is_some() {
                claim_epoch = ClaimEpoch(offset.after().0);
                is_certain = true;
                continue;
            }
            let envelope = Record::decode(offset, bytes).map_err(corrupt)?.envelope;
            // As every reader does: what a newer claim made void is no history.
            if is_certain && envelope.claim_epoch >= claim_epoch {
                last = Some(envelope.ordinal);
            }
        }
    }
    Ok(last)
}
