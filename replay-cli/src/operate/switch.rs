//! `promote` and `rollback`: which generation is served.

use annals_engine::generations::retention::Dropped;
use annals_engine::sink::{Generation, GenerationId, GenerationState, PromoteError, Promoted, false_checkpoint};
use serde_json::json;

use super::removal::{behind_a_promotion, named, numbers};
use super::{Site, generation_json};
use crate::cli::{Global, RollbackArgs, SwitchArgs};
use crate::exit::{Exit, Failure};
use crate::failure::{read_failure, store_failure};
use crate::output::{Output, render_pairs};

/// `promote`.
pub(crate) async fn promote(global: &Global, output: Output, args: &SwitchArgs) -> anyhow::Result<Exit> {
    let site = Site::open(global).await?;
    site.read_model(&args.name, None)?;
    let target = match args.generation {
        Some(id) => GenerationId(id),
        None => newest_ready(&site, &args.name).await?.id,
    };
    let promoted = site.store.promote(&args.name, target).await;
    finish(&site, output, promoted).await
}

/// `rollback`.
pub(crate) async fn rollback(global: &Global, output: Output, args: &RollbackArgs) -> anyhow::Result<Exit> {
    let site = Site::open(global).await?;
    site.read_model(&args.name, None)?;
    let promoted = site.store.rollback(&args.name).await;
    finish(&site, output, promoted).await
}

async fn finish(site: &Site, output: Output, promoted: Result<Promoted, PromoteError>) -> anyhow::Result<Exit> {
    let error = match promoted {
        Ok(promoted) => {
            let dropped = behind_a_promotion(site, &promoted.live.read_model).await;
            return report(output, &promoted, &dropped);
        }
        Err(error) => error,
    };
    if let PromoteError::Behind { components, .. } = &error {
        for component in components {
            let end = site.log.end(component.at).await.map_err(|error| read_failure(&error))?;
            if component.needs.offset > end {
                // No generation of this log will ever come that far.
                let judged = false_checkpoint(&*site.log, component.at, component.needs).await;
                let cause = judged.map_err(|error| read_failure(&error))?.unwrap_or_else(|| {
                    let at = component.at;
                    format!("the live generation is beyond the log's end ({at} ends at {end}): the log was replaced by an older copy")
                });
                return Err(failure(&error)
                    .remedy(format!(
                        "{cause}; stop the server, move the folder `read-models` away (in PostgreSQL: drop its schemas), \
                         and start it: it builds them anew"
                    ))
                    .into());
            }
        }
    }
    Err(failure(&error).into())
}

async fn newest_ready(site: &Site, name: &str) -> anyhow::Result<Generation> {
    let generations = site.store.list(name).await.map_err(|error| store_failure(&error))?;
    let newest = generations.into_iter().rev().find(|generation| generation.state == GenerationState::Ready);
    newest.ok_or_else(|| {
        Failure::new(Exit::Failed, format!("{name} has no generation that is ready"))
            .remedy(format!("build one with `annals rebuild {name}`, or name a retired one with --generation"))
            .into()
    })
}

fn report(output: Output, promoted: &Promoted, dropped: &Dropped) -> anyhow::Result<Exit> {
    let mut document = generation_json(&promoted.live);
    document["instead_of"] = promoted.retired.as_ref().map_or_else(|| json!(null), generation_json);
    document["dropped"] = numbers(&dropped.gone);
    document["not_dropped"] = numbers(dropped.left.iter().map(|(generation, _)| generation));
    output.document(&document, || {
        let mut pairs = vec![
            ("live", named(std::slice::from_ref(&promoted.live))),
            ("retired", named(promoted.retired.as_slice())),
        ];
        if !dropped.gone.is_empty() {
            pairs.push(("dropped", named(&dropped.gone)));
        }
        render_pairs(&pairs)
    })?;
    Ok(Exit::Ok)
}

fn failure(error: &PromoteError) -> Failure {
    let name = |read_model: &str| format!("see `annals status`; {read_model} is served as before");
    match error {
        PromoteError::Behind { read_model, .. } => Failure::new(Exit::Conflict, error.to_string())
            .remedy(format!("let a server catch it up, then try again; {}", name(read_model))),
        PromoteError::AlreadyLive { .. } => Failure::new(Exit::Conflict, error.to_string()),
        PromoteError::NothingRetired { read_model } => {
            Failure::new(Exit::Failed, error.to_string()).remedy(name(read_model))
        }
        PromoteError::Store(error) => store_failure(error),
    }
}
