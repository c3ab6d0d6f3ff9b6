//! The projector's process: keeps an application's read models current from the log, beside any number of others that do
//! the same.
//!
//! Several instances of one read model share its partitions or stand by for each other: every commit names the checkpoint
//! that it goes on from, so that nothing is applied twice, whoever comes first.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::process::ExitCode;
use std::sync::Arc;

use crate::deployment::{
    Access, Deployment, DeploymentFlags, OpenLog, OpenLogError, OpenStoreError, Place, until_there,
};
use crate::process::arguments::arguments;
use crate::process::exit::{Exit, Failure};
use crate::process::{self, file, metrics, say, stop};
use annals_engine::generations::Generations;
use annals_engine::log::ReadError;
use annals_engine::presence::Presence;
use annals_engine::published::{self, SchemaError};
use annals_engine::runner::ReadModels;
use annals_engine::sink::{ProcessKind, StoreError};
use annals_engine::telemetry::Sampler;
use annals_model::application::Application;
use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Keep read models current from the event log.
#[derive(Debug, Parser)]
#[command(
    name = "annals-projector",
    version,
    max_term_width = 100,
    after_help = "Examples:
  annals-projector                                  all read models of ./annals-data
  annals-projector --config annals.toml --data p1 --read-model NAME

DIR/ready.json has the process and the address of its metrics once it is ready.

Exit codes: 0 stopped as asked, 1 failed, 2 usage or environment, 3 damage found."
)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// A read model to keep current; repeat for more; all unless given
    #[arg(long, value_name = "NAME")]
    read_model: Vec<String>,
    #[command(flatten)]
    deployment: DeploymentFlags,
}

/// The whole process.
pub fn main(application: Application) -> ExitCode {
    let arguments = match arguments::<Arguments>() {
        Ok(arguments) => arguments,
        Err(ended) => return ended,
    };
    process::run(run(&application, &arguments))
}

async fn run(application: &Application, arguments: &Arguments) -> anyhow::Result<Exit> {
    let deployment = Deployment::read(&arguments.place, arguments.deployment.given())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let names = wanted(application, &arguments.read_model)?;
    let stop =
        stop::on_signal_in_time("stopping; once more to end at once", "ended at once; rows and checkpoints agree")
            .context("signals cannot be caught")?;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&deployment.data);
    made.map_err(|error| Failure::usage(format!("{} cannot be made: {error}", deployment.data.display())))?;
    let ready = deployment.data.join("ready.json");
    let unwritten = |error| Failure::usage(format!("{} cannot be replaced: {error}", ready.display()));
    // Of a process that is gone.
    file::remove(&ready).map_err(unwritten)?;
    let listens = match deployment.metrics_listen {
        Some(address) => Some(metrics::serve(address).map_err(|error| Failure::usage(error.to_string()))?),
        None => None,
    };
    let Some(Started { log, store, read_models }) = start(application, &deployment, &names, &stop).await? else {
        return Ok(Exit::Ok);
    };
    let sampling = tokio::spawn(Sampler::new(log.shared(), store.clone(), read_models.clone(), None).run());
    let address = listens.map(|at| at.to_string());
    let who = process::of_this_process(ProcessKind::Projector, Uuid::new_v4().to_string(), address, names.clone());
    let presence = Presence::start(store, who, None, read_models.clone());
    let document = json!({ "pid": std::process::id(), "metrics": listens.map(|at| format!("http://{at}/metrics")) });
    file::write_private(&ready, document.to_string().as_bytes()).map_err(unwritten)?;
    let measured = listens.map_or_else(String::new, |at| format!(", metrics at http://{at}/metrics"));
    say!("annals-projector {} is ready: {}{measured}", env!("CARGO_PKG_VERSION"), names.join(", "));

    stop.cancelled().await;
    // On a directory that several instances share it may be another one's by now.
    if fs::read(&ready).is_ok_and(|found| found == document.to_string().as_bytes()) {
        file::remove(&ready).map_err(unwritten)?;
    }
    presence.end().await;
    sampling.abort();
    // Its share of the read models goes with it; that it was aborted is no news.
    let _ = sampling.await;
    if let Some(read_models) = Arc::into_inner(read_models) {
        read_models.stop().await;
    }
    log.close().await;
    say!("stopped; rows and checkpoints agree");
    Ok(Exit::Ok)
}

/// A projector at work.
struct Started {
    log: OpenLog,
    store: Generations,
    read_models: Arc<ReadModels>,
}

/// Opens log and store and starts the runners, as soon as both are there; nothing if it is stopped before.
async fn start(
    application: &Application,
    deployment: &Deployment,
    names: &[String],
    stop: &CancellationToken,
) -> anyhow::Result<Option<Started>> {
    let log = deployment.await_log(application, Access::Read, stop).await;
    let Some(log) = log.map_err(|error| log_failure(&error))? else { return Ok(None) };
    let shared = log.shared();
    let passes = |error: &SchemaError| matches!(error, SchemaError::Read(ReadError::Unavailable(_)));
    let known = until_there(stop, passes, || published::check(&*shared, &application.schemas)).await;
    if known.map_err(|error| Failure::usage(error.to_string()))?.is_none() {
        return Ok(None);
    }
    let store = deployment.await_store(application, log.id(), stop).await;
    let Some(store) = store.map_err(|error| store_failure(&error))? else { return Ok(None) };
    let store = store.handle();
    let is_wanted = |name: &str| names.iter().any(|wanted| wanted == name);
    let started =
        until_there(stop, StoreError::is_transient, || ReadModels::start_where(log.shared(), store.clone(), is_wanted));
    let Some(read_models) = started.await.map_err(|error| store_failure(&error.into()))? else { return Ok(None) };
    Ok(Some(Started { log, store, read_models: Arc::new(read_models) }))
}

/// The read models to run: those named, or all.
fn wanted(application: &Application, named: &[String]) -> Result<Vec<String>, Failure> {
    let carried = application.read_model_names();
    if let Some(unknown) = named.iter().find(|name| !carried.contains(&name.as_str())) {
        return Err(Failure::usage(format!("there is no read model {unknown:?}"))
            .remedy(format!("there are {}", carried.join(", "))));
    }
    let mut wanted = match named {
        [] => carried.into_iter().map(str::to_owned).collect(),
        named => named.to_vec(),
    };
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

fn log_failure(error: &OpenLogError) -> Failure {
    Failure::new(if error.is_damage() { Exit::Mismatch } else { Exit::Usage }, error.to_string())
}

fn store_failure(error: &OpenStoreError) -> Failure {
    Failure::new(if error.is_damage() { Exit::Mismatch } else { Exit::Usage }, error.to_string())
}
