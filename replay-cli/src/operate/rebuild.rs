//! `rebuild`: a new generation beside the live one.

use std::time::Duration;

use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::FoldOptions;
use annals_engine::rebuild::{RebuildError, Rebuilt, rebuild};
use annals_engine::runner::RunnerFailure;
use annals_engine::sink::CreateError;
use annals_projectors::process::say;
use serde_json::json;

use super::{Site, Watch, confirmed, generation_json, plan};
use crate::cli::{Global, RebuildArgs};
use crate::exit::{Exit, Failure};
use crate::failure::{fold_failure, read_failure, sink_exit, store_failure};
use crate::output::cell::count;
use crate::output::{Format, Output, render_pairs};
use crate::progress::rate;

/// `rebuild`.
pub(crate) async fn run(global: &Global, output: Output, args: &RebuildArgs) -> anyhow::Result<Exit> {
    let site = Site::open(global).await?;
    let planned = plan::make(&site, &args.name, args.version).await?;
    if !args.yes {
        say!("{}", plan::text(&planned, &plan::old(&site, &args.name).await?));
        if !confirmed("a rebuild", "Build it?")? {
            say!("nothing was done");
            return Ok(Exit::Ok);
        }
    }
    let read_model = site.read_model(&args.name, args.version)?;
    let reason = args.reason.clone().unwrap_or_else(|| format!("rebuilt by hand: {}", plan::why(&planned)));
    let mut options = FoldOptions { events_per_second_max: args.throttle.map(u64::from), ..FoldOptions::default() };
    if let Some(mebibytes) = args.memory {
        options.memory_bytes_max = usize::try_from(mebibytes).unwrap_or(usize::MAX).saturating_mul(1 << 20);
    }
    let control = Control::default();
    let watch = Watch::start(&format!("rebuild {}", args.name), &control);
    let built = rebuild(site.shared_log(), &site.store, read_model, &reason, options, &control).await;
    drop(watch);
    let built = built.map_err(|error| failure(&error, &args.name))?;
    report(output, &built)?;
    Ok(Exit::Ok)
}

fn report(output: Output, built: &Rebuilt) -> anyhow::Result<()> {
    let took = built.folding + built.loading;
    let per_second = rate(built.events, took);
    let mut document = generation_json(&built.generation);
    document["events"] = json!(built.events);
    document["rows"] = json!(built.rows);
    document["passes"] = json!(built.passes);
    document["folding_seconds"] = json!(built.folding.as_secs_f64());
    document["loading_seconds"] = json!(built.loading.as_secs_f64());
    document["events_per_second"] = json!(per_second);
    let name = &built.generation.read_model;
    let id = built.generation.id;
    output.document(&document, || {
        let seconds = |duration: Duration| format!("{:.2} s", duration.as_secs_f64());
        render_pairs(&[
            ("generation", format!("{id} of {name} version {}", built.generation.version)),
            ("state", built.generation.state.to_string()),
            (
                "events",
                format!("{} ({} per second, in {} over the log)", count(built.events), count(per_second), built.passes),
            ),
            ("rows", count(built.rows)),
            ("folding", seconds(built.folding)),
            ("loading", seconds(built.loading)),
        ])
    })?;
    if output.format() == Format::Table {
        say!("next: `annals verify {name} --generation {id}`, then `annals promote {name}`");
    }
    Ok(())
}

fn failure(error: &RebuildError, name: &str) -> Failure {
    match error {
        RebuildError::Create(CreateError::AlreadyRunning { .. }) => Failure::new(Exit::Conflict, error.to_string()),
        RebuildError::Create(CreateError::Store(error)) | RebuildError::Store(error) => store_failure(error),
        RebuildError::Sink(error) => Failure::new(sink_exit(error), error.to_string()),
        RebuildError::CatchUp(RunnerFailure::Store(error)) => store_failure(error),
        RebuildError::CatchUp(RunnerFailure::Sink(error)) => Failure::new(sink_exit(error), error.to_string()),
        RebuildError::CatchUp(RunnerFailure::Log(error)) => read_failure(error),
        RebuildError::CatchUp(
            RunnerFailure::Apply { .. } | RunnerFailure::Panicked { .. } | RunnerFailure::Crashed { .. },
        ) => Failure::new(Exit::Failed, error.to_string()),
        RebuildError::Fold(error) => {
            fold_failure(error, &format!("run `annals rebuild {name}` again; it begins that generation anew"))
        }
    }
}
