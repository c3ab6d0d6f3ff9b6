//! How much memory may the readers of a process take for what was fetched and is not read yet? One budget for all of
//! them: the more there are, the less each of the next ones gets.

use std::sync::{Arc, Mutex, PoisonError};

use crate::limits;

/// Bytes that readers share.
#[derive(Debug)]
pub(super) struct Budget {
    left: Mutex<usize>,
    /// Most for one reader.
    largest: usize,
}

/// A reader's part of the budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    /// What the reader may take: a power of two, so that its client fits another reader later.
    pub(super) bytes: usize,
    /// What was left for it: less than it takes where the budget is spent.
    taken: usize,
    budget: Arc<Budget>,
}

impl Budget {
    /// `bytes` for all, at most `largest` for one.
    pub(super) fn new(bytes: usize, largest: usize) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(bytes), largest })
    }

    /// A quarter of what is left, between the smallest share, which everybody gets, and the largest.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let quarter = *left / 4;
        let power = quarter.checked_ilog2().map_or(0, |exponent| 1 << exponent);
        let bytes = power.clamp(limits::KAFKA_READER_BYTES_MIN, self.largest);
        let taken = bytes.min(*left);
        *left -= taken;
        Share { bytes, taken, budget: Arc::clone(self) }
    }

    /// What nobody has.
    pub(super) fn left(&self) -> usize {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.left.lock().unwrap_or_else(PoisonError::into_inner) += self.taken;
    }
}

#[cfg(test)]
mod tests;
