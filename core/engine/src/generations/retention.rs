//! Which retired generations stay, and how the others go.

use super::keep::Keep;
use super::life::{Life, Refusal};
use super::{Generation, GenerationId, Generations};
use crate::sink::StoreError;

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
