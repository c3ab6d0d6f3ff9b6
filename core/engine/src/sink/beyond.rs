//! A checkpoint lies beyond the log's end: which of the two is at fault?

use annals_model::position::{Checkpoint, ContextPartition};

use crate::log::{EventLog, ReadError};

/// Why a checkpoint is false although the log is sound; nothing where it lies within the log, or where the log has lost
/// what it stands for.
///
/// A checkpoint names an offset, and the last event and the newest claim before it. Events are counted without gaps, and
/// a claim's epoch is its place. So a log that has that event and that claim, and yet ends before that offset, has lost
/// nothing: no history has this checkpoint. Restoring such a log would lose events for nothing.
pub async fn false_checkpoint(
    log: &dyn EventLog,
    at: ContextPartition,
    checkpoint: Checkpoint,
) -> Result<Option<String>, ReadError> {
    let end = log.end(at).await?;
    if checkpoint.offset <= end {
        return Ok(None);
    }
    let last = log.last_ordinal(at).await?;
    let has_all = checkpoint.ordinal <= last && checkpoint.claim_epoch.0 <= end.0;
    Ok(has_all.then(|| {
        let Checkpoint { offset, ordinal, .. } = checkpoint;
        format!(
            "its checkpoint at {at} puts event {ordinal} before offset {offset}, but the log, which ends at {end}, has all \
             events up to {last}: the log is whole, the checkpoint is false"
        )
    }))
}
