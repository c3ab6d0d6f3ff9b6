//! Which retired generations stay, and how the others go.

use std::fmt;
use std::str::FromStr;

use super::life::{Life, Refusal};
use super::{Generation, GenerationId, Generations};
use crate::limits;
use crate::sink::StoreError;

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

/// What became of the old generations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// They are gone, with their rows.
    pub gone: Vec<Generation>,
    /// They could not be removed, and why; the next promotion tries again.
    pub left: Vec<(Generation, StoreError)>,
}

/// Removes the retired generations that nobody needs any more: called behind a promotion, outside of its transaction. No
/// process serves them: they were retired before the one that is retired now.
pub async fn drop_old(generations: &Generations, read_model: &str, keep: Keep) -> Result<Dropped, StoreError> {
    let mut dropped = Dropped::default();
    let (life, good) = look(generations, read_model).await?;
    for generation in life.old(keep, |generation| good.contains(&generation.id)) {
        match generations.remove(&generation).await {
            Ok(()) => dropped.gone.push(generation),
            // Another process was faster.
            Err(StoreError::Refused(Refusal::NoSuchGeneration { .. })) => {}
            Err(error) => dropped.left.push((generation, error)),
        }
    }
    Ok(dropped)
}

/// What [`drop_old`] would remove behind a promotion of a generation that is not retired now.
pub async fn old_after_a_promotion(
    generations: &Generations,
    read_model: &str,
    keep: Keep,
) -> Result<Vec<Generation>, StoreError> {
    let (life, good) = look(generations, read_model).await?;
    Ok(life.old_after_a_promotion(keep, |generation| good.contains(&generation.id)))
}

/// The generations, and those that a rollback could go back to: their rows can be read, and no verification found others
/// than the log says. What is not known now is not counted on.
async fn look(generations: &Generations, read_model: &str) -> Result<(Life, Vec<GenerationId>), StoreError> {
    let known = generations.list(read_model).await?;
    let mut good = Vec::new();
    for generation in known.iter().filter(|generation| generation.state.is_run()) {
        if generation.mismatch.is_none() && generations.probe(generation).await.is_ok() {
            good.push(generation.id);
        }
    }
    Ok((Life::new(read_model, 0, known), good))
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
