//! How many retired generations stay.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// How many retired generations of a read model stay: at least the one that a rollback goes back to. Each is kept current,
/// and takes the room and the work of the live one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep(u8);

impl Keep {
    /// So many; nothing where it is none, or more than [`limits::RETIRED_KEPT_MAX`].
    pub fn new(count: u8) -> Option<Self> {
        (1..=limits::RETIRED_KEPT_MAX).contains(&count).then_some(Self(count))
    }

    /// How many.
    pub const fn count(self) -> u8 {
        self.0
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// It is no number of generations that can be kept: see [`Keep::new`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a whole number from 1 to {}", limits::RETIRED_KEPT_MAX)]
pub struct KeepError;

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        text.parse().ok().and_then(Self::new).ok_or(KeepError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_retired_generation_stays_and_not_more_than_the_bound() {
        let parsed = |text: &str| text.parse::<Keep>().map(Keep::count).ok();
        assert_eq!(Keep::default().count(), 1);
        assert_eq!([parsed("1"), parsed("16")], [Some(1), Some(16)]);
        assert_eq!(["0", "17", "256", "-1", "", "one"].map(parsed), [None; 6]);
    }
}
