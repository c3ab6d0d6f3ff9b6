//! What a decision does wrong on purpose, in builds with the feature `seeded-bugs`.

use super::state::LedgerEntry;
use crate::seeded::{SeededBug, is_on};

/// What is left of what the ledger knows of a command.
pub(super) fn remembered(accepted: Option<LedgerEntry>) -> Option<LedgerEntry> {
    accepted.filter(|_| !is_on(SeededBug::NoLedger))
}
