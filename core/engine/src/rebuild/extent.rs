//! How much is there to read? Answered from each partition's last records, without reading the rest.

use annals_model::envelope::Record;
use annals_model::ids::ContextId;
use annals_model::position::{ContextPartition, Offset, Ordinal};

use crate::limits;
use crate::log::{EventLog, RawBatch, ReadError};

/// What one partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub at: ContextPartition,
    /// Where it ends.
    pub end: Offset,
    /// Ordinal of its last record: the number of records.
    pub ordinal: Ordinal,
    /// Bytes of an average record among the last ones.
    pub bytes_per_event: u64,
}

/// The extents of all partitions of these contexts.
pub async fn extents(log: &dyn EventLog, contexts: &[ContextId]) -> Result<Vec<Extent>, ReadError> {
    let mut extents = Vec::new();
    for context in contexts {
        for partition in 0..log.partitions(*context) {
            let at = ContextPartition { context: *context, partition: annals_model::ids::Partition(partition) };
            extents.push(extent(log, at).await?);
        }
    }
    Ok(extents)
}

async fn extent(log: &dyn EventLog, at: ContextPartition) -> Result<Extent, ReadError> {
    let end = log.end(at).await?;
    let mut back = limits::EXTENT_OFFSETS_MIN;
    loop {
        let from = Offset(end.0.saturating_sub(back));
        let (ordinal, bytes_per_event) = last_records(log, at, from, end).await?;
        // Behind a run of claims or a hole there may be no event to be seen.
        if ordinal > Ordinal::ZERO || from == Offset::START {
            return Ok(Extent { at, end, ordinal, bytes_per_event });
        }
        back = back.saturating_mul(16);
    }
}

async fn last_records(
    log: &dyn EventLog,
    at: ContextPartition,
    from: Offset,
    end: Offset,
) -> Result<(Ordinal, u64), ReadError> {
    let mut reader = log.reader(at, from).await?;
    let mut batch = RawBatch::default();
    let (mut ordinal, mut bytes, mut events) = (Ordinal::ZERO, 0, 0);
    while reader.position() < end {
        reader.next(&mut batch).await?;
        if batch.is_empty() {
            break;
        }
        for (offset, record) in batch.iter() {
            // Claims have no envelope; damaged records are found by those who read them for their content.
            if let Ok(decoded) = Record::decode(offset, record) {
                ordinal = ordinal.max(decoded.envelope.ordinal);
                bytes += record.len() as u64;
                events += 1;
            }
        }
    }
    Ok((ordinal, bytes.checked_div(events).unwrap_or_default()))
}
