//! `drop`: a generation that nobody needs goes, with its rows. And what a promotion says of the old ones.

use annals_engine::generations::life::Life;
use annals_engine::generations::retention::{Dropped, drop_old};
use annals_engine::sink::{Generation, GenerationState};
use annals_projectors::process::say;
use serde_json::{Value, json};

use super::{Site, confirmed, generation_json};
use crate::cli::{DropArgs, Global};
use crate::exit::Exit;
use crate::failure::store_failure;
use crate::output::{Output, render_pairs};

/// `drop`.
pub(crate) async fn run(global: &Global, output: Output, args: &DropArgs) -> anyhow::Result<Exit> {
    let site = Site::open(global).await?;
    let generation = site.generation(&args.name, Some(args.generation)).await?;
    let generations = site.store.list(&args.name).await.map_err(|error| store_failure(&error))?;
    let life = Life::new(&args.name, 0, generations);
    // Refused before anybody is asked; and again when it is done.
    life.remove(&generation).map_err(|refusal| {
        let refused = store_failure(&refusal.into());
        match generation.state {
            GenerationState::Live => refused.remedy("promote another one first"),
            GenerationState::Ready => {
                refused.remedy("promote it or another one; what is live then is retired, and can go")
            }
            GenerationState::Building | GenerationState::Retired | GenerationState::Failed => refused,
        }
    })?;
    if !args.yes {
        say!("{}", question(&generation, life.rollback().is_ok_and(|id| id == generation.id)));
        if !confirmed("dropping a generation", "Drop it?")? {
            say!("nothing was done");
            return Ok(Exit::Ok);
        }
    }
    site.store.remove(&generation).await.map_err(|error| store_failure(&error))?;
    let mut document = generation_json(&generation);
    document["dropped"] = json!(true);
    output.document(&document, || render_pairs(&[("dropped", generation.to_string())]))?;
    Ok(Exit::Ok)
}

fn question(generation: &Generation, is_rollbacks: bool) -> String {
    let loss = match (generation.state, is_rollbacks) {
        (GenerationState::Failed, _) => "its build failed; nothing can be made of it",
        (_, true) => "a rollback goes back to it, and could not any more",
        (_, false) => "a rollback goes back to a newer one",
    };
    format!(
        "{generation} is {}: {loss}. Its rows are removed; the log has all that they were made from.",
        generation.state
    )
}

/// Removes what a promotion has made old. That something could not be removed is said, and is no failure of the promotion.
pub(super) async fn behind_a_promotion(site: &Site, name: &str) -> Dropped {
    let dropped = drop_old(&site.store, name, site.keep).await.unwrap_or_else(|error| {
        say!("warning: old generations of {name} were not looked for: {error}; the next promotion tries again");
        Dropped::default()
    });
    for (generation, error) in &dropped.left {
        say!(
            "warning: {generation} is not needed any more, but could not be dropped: {error}; the next promotion tries \
             again, or annals drop {name} --generation {}",
            generation.id
        );
    }
    dropped
}

/// The numbers of generations, for programs.
pub(super) fn numbers<'a>(generations: impl IntoIterator<Item = &'a Generation>) -> Value {
    generations.into_iter().map(|generation| json!(generation.id)).collect()
}

/// Generations by number and version, for people.
pub(super) fn named(generations: &[Generation]) -> String {
    let named = |generation: &Generation| format!("generation {} of version {}", generation.id, generation.version);
    match generations {
        [] => "none".to_owned(),
        generations => generations.iter().map(named).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use annals_engine::sink::GenerationId;
    use annals_model::time::Timestamp;

    use super::*;

    #[test]
    fn whoever_is_asked_is_told_what_would_be_lost() {
        let generation = |state| Generation {
            read_model: "portfolio".to_owned(),
            version: 2,
            id: GenerationId(3),
            state,
            started_at: Timestamp(0),
            finished_at: None,
            retired_at: None,
            verified_digest: None,
            mismatch: None,
            reason: None,
            failure: None,
        };
        let retired = generation(GenerationState::Retired);
        assert!(
            question(&retired, true).starts_with("portfolio v2 generation 3 is retired: a rollback goes back to it")
        );
        assert!(question(&retired, false).contains("goes back to a newer one"));
        assert!(question(&generation(GenerationState::Failed), false).contains("its build failed"));
        assert_eq!(named(&[]), "none");
        assert_eq!(named(&[retired.clone(), retired]), "generation 3 of version 2, generation 3 of version 2");
    }
}
