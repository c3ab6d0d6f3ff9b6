//! What a claim does wrong on purpose, in builds with the feature `seeded-bugs`.

use annals_model::position::Offset;

use super::positions::Positions;
use super::producer::Destination;
use crate::log::ReadError;
use crate::seeded::{SeededBug, is_on};

/// With the mistake, the end of the partition before anybody is fenced, for the barrier.
pub(super) async fn seeming_barrier(positions: &Positions, to: &Destination) -> Result<Option<Offset>, ReadError> {
    match is_on(SeededBug::StableOffsetInsteadOfBarrier) {
        true => positions.stable_end(&to.topic, to.partition).await.map(Some),
        false => Ok(None),
    }
}
