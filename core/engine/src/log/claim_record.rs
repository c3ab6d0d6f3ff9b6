//! The record that a claim leaves in the log.

use std::time::{SystemTime, UNIX_EPOCH};

use annals_model::engine_record::Claim;
use annals_model::time::Timestamp;

use super::Owner;

/// The framed `$claim` of an owner who claims now.
pub(crate) fn encode_claim(owner: &Owner) -> Vec<u8> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claimed_at = Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX));
    let mut bytes = Vec::new();
    Claim { owner_id: &owner.id, address: &owner.address, claimed_at }.encode(&mut bytes);
    bytes
}
