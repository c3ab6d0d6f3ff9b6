//! Commands that rest on one another, sent without waiting: decided in their order, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One sender's commands for one partition, which are decided in the sender's order. Once one of them could not be decided,
/// none behind it is: what it would be told could be true only because the other one was lost on its way.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The first link that was left undecided.
    undecided: Arc<AtomicU64>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { undecided: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

impl Chain {
    /// The place of a command in it; the numbers are the sender's, and grow.
    #[must_use]
    pub fn link(&self, number: u64) -> Link {
        Link { chain: self.clone(), number }
    }

    /// True while one of its commands is neither decided nor refused.
    pub fn is_under_way(&self) -> bool {
        Arc::strong_count(&self.undecided) > 1
    }
}

/// The place of a command among those that rest on one another.
#[derive(Clone, Debug)]
pub struct Link {
    chain: Chain,
    number: u64,
}

impl Link {
    /// True once a command before this one was left undecided.
    pub fn is_behind_undecided(&self) -> bool {
        self.chain.undecided.load(Ordering::Acquire) < self.number
    }

    /// This command is not decided: none behind it must be.
    pub fn leave_undecided(&self) {
        self.chain.undecided.fetch_min(self.number, Ordering::AcqRel);
    }
}
