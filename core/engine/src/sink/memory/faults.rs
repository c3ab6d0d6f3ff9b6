//! Which operations of the test store fail.

use crate::sink::contract::history::Random;

/// How one operation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Nothing was done.
    Down,
    /// It was done, and the answer is lost; of a commit only.
    LostAnswer,
}

/// Faults by seed.
#[derive(Clone, Debug)]
pub struct SinkFaults {
    random: Random,
    down_percent: u64,
    lost_percent: u64,
}

impl SinkFaults {
    /// Nothing fails.
    pub fn none() -> Self {
        Self::seeded(0, 0, 0)
    }
    /// So many of a hundred operations do nothing and fail; so many commits succeed and seem to fail.
    pub fn seeded(seed: u64, down_percent: u64, lost_percent: u64) -> Self {
        Self { random: Random::new(seed), down_percent, lost_percent }
    }
    pub(super) fn next(&mut self) -> Option<Fault> {
        let roll = self.random.below(100);
        if roll < self.down_percent {
            Some(Fault::Down)
        } else if roll < self.down_percent + self.lost_percent {
            Some(Fault::LostAnswer)
        } else {
            None
        }
    }
}
