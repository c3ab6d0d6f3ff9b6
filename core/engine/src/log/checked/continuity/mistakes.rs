//! What a reader does wrong on purpose, in builds with the feature `seeded-bugs`.

use annals_model::position::ClaimEpoch;

use crate::seeded::{SeededBug, is_on};

/// The claim that a record is taken for one of: with the mistake, for one of the newest, whichever it is of.
pub(super) fn believed(of_record: ClaimEpoch, newest: ClaimEpoch) -> ClaimEpoch {
    if is_on(SeededBug::ClaimEpochUnchecked) { newest } else { of_record }
}
