//! What every implementation checks before it appends: cheap (two envelopes per batch), and enough that a bug of the
//! caller stops at the log's door instead of becoming history.

use annals_model::envelope::Record;
use annals_model::position::{ClaimEpoch, Ordinal, RecordOffset};

use super::AppendBatch;
use crate::limits;

/// The ordinals of a batch that may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Of its first record.
    pub(crate) first: Ordinal,
    /// Of its last record.
    pub(crate) last: Ordinal,
}

#[cfg(feature = "kafka")]
impl Admitted {
    /// How many records.
    pub(crate) const fn count(self) -> u64 {
        self.last.0 - self.first.0 + 1
    }
}

/// Checks size, claim, whole commits and the span of ordinals. The cause goes into `Aborted`: nothing was written.
pub(crate) fn admit(batch: &AppendBatch, claim_epoch: ClaimEpoch) -> Result<Admitted, String> {
    if batch.bytes_len() > limits::APPEND_BYTES_MAX {
        return Err(format!("append of {} bytes; {} are allowed", batch.bytes_len(), limits::APPEND_BYTES_MAX));
    }
    let (Some(first), Some(last)) = (batch.iter().next(), batch.iter().next_back()) else {
        return Err("append without records".into());
    };
    let decode = |bytes| {
        Record::decode(RecordOffset(0), bytes).map_err(|error| format!("record that cannot be decoded: {error}"))
    };
    let (first, last) = (decode(first)?, decode(last)?);
    for record in [&first, &last] {
        if record.envelope.claim_epoch != claim_epoch {
            return Err(format!("record of claim {} in an append of claim {claim_epoch}", record.envelope.claim_epoch));
        }
    }
    if first.envelope.commit_index.0 != 0 || !last.ends_commit() {
        return Err("append that splits a command's events".into());
    }
    let admitted = Admitted { first: first.envelope.ordinal, last: last.envelope.ordinal };
    if admitted.last.0.checked_sub(admitted.first.0) != Some(batch.len() as u64 - 1) {
        return Err(format!("{} records with ordinals {} to {}", batch.len(), admitted.first, admitted.last));
    }
    Ok(admitted)
}

/// Checks that a batch continues the partition, whose last ordinal is `tail`.
pub(crate) fn follows(tail: Ordinal, admitted: Admitted) -> Result<(), String> {
    if admitted.first == tail.next() {
        return Ok(());
    }
    Err(format!("append starts at ordinal {}; the partition's last is {tail}", admitted.first))
}

/// Keys that start like this belong to the log itself: its id, its format, its contexts.
pub(crate) const OWN_META_PREFIX: &str = "log.";

/// Checks a `meta` entry before it is written.
pub(crate) fn admit_meta(key: &str, value: &[u8]) -> Result<(), String> {
    if key.starts_with(OWN_META_PREFIX) {
        return Err(format!("meta key {key} belongs to the log itself"));
    }
    if key.is_empty() || key.len() > limits::META_KEY_BYTES_MAX {
        return Err(format!("meta key of {} bytes; 1 to {} are allowed", key.len(), limits::META_KEY_BYTES_MAX));
    }
    if value.len() > limits::META_VALUE_BYTES_MAX {
        return Err(format!("meta value of {} bytes; {} are allowed", value.len(), limits::META_VALUE_BYTES_MAX));
    }
    Ok(())
}
