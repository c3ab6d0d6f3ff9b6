//! One partition of the test log.

use std::sync::Arc;

use annals_model::position::{ClaimEpoch, Offset, Ordinal, RecordOffset};

use crate::limits;
use crate::log::admission::Admitted;
use crate::log::claim_record::encode_claim;
use crate::log::holes::Holes;
use crate::log::{AppendBatch, Owner, RawBatch};

/// What one partition holds.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// By offset.
    records: Vec<(RecordOffset, Arc<[u8]>)>,
    pub(super) next: Offset,
    pub(super) claim_epoch: ClaimEpoch,
    pub(super) ordinal: Ordinal,
    /// Answered `Unknown`, decided by the next claim.
    pub(super) in_flight: Option<(AppendBatch, Admitted)>,
}

impl Stored {
    pub(super) fn append(&mut self, batch: &AppendBatch, admitted: Admitted, holes: &mut Holes) -> Vec<RecordOffset> {
        let positions = batch.iter().map(|bytes| self.push(bytes, holes)).collect();
        self.next.0 += holes.width();
        self.ordinal = admitted.last;
        positions
    }

    /// Decides what is in flight, then claims. The barrier is where the partition ends now.
    pub(super) fn claim(&mut self, owner: &Owner, holes: &mut Holes) -> ClaimEpoch {
        if let Some((batch, admitted)) = self.in_flight.take() {
            self.append(&batch, admitted, holes);
        }
        let offset = self.push(&encode_claim(owner), holes);
        self.next.0 += holes.width();
        self.claim_epoch = ClaimEpoch(offset.after().0);
        self.claim_epoch
    }

    /// Adds records without asking anybody: what a log without fencing would do.
    pub(super) fn push(&mut self, bytes: &[u8], holes: &mut Holes) -> RecordOffset {
        let offset = RecordOffset(self.next.0 + holes.width());
        self.records.push((offset, bytes.into()));
        self.next = offset.after();
        offset
    }

    /// Copies records from `position` on, at most `records_max`, and returns the position behind them.
    pub(super) fn read(&self, position: Offset, records_max: usize, batch: &mut RawBatch) -> Offset {
        let start = self.records.partition_point(|(offset, _)| offset.at() < position);
        for (offset, bytes) in self.records[start..].iter().take(records_max) {
            if !batch.is_empty() && batch.bytes_len() + bytes.len() > limits::READ_BATCH_BYTES_MAX {
                break;
            }
            batch.push(*offset, bytes);
        }
        match batch.iter().next_back() {
            Some((last, _)) if start + batch.len() < self.records.len() => last.after(),
            _ => self.next,
        }
    }
}
