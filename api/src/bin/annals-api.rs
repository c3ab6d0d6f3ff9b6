//! `annals-api`: one node of several that share the partitions of a log on Kafka. It owns what it is given, hands requests
//! for the rest on to their owners, and answers queries from read models that `annals-projector` keeps current.

use std::process::ExitCode;

use annals_api::node;
use annals_projectors::deployment::{ApiFlags, Deployment, DeploymentFlags, Place};
use annals_projectors::process::exit::{Exit, Failure, report};
use annals_projectors::process::log_to_stderr;
use clap::Parser;

/// One node of several: owns partitions of the log, forwards to the other nodes, answers queries.
#[derive(Debug, Parser)]
#[command(
    name = "annals-api",
    version,
    about,
    max_term_width = 100,
    after_help = "\
Example:
  annals-api --data ./node-1 --log kafka --brokers 127.0.0.1:9092 --listen 7001 \\
      --read-models postgres://annals@127.0.0.1:5432/annals --signing-key ./signing.key --cursor-key ./cursor.key"
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    deployment: DeploymentFlags,
    #[command(flatten)]
    api: ApiFlags,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()).into(),
    };
    runtime.block_on(run(&cli)).map_or_else(|error| report(&error), |()| Exit::Ok).into()
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let flags = [cli.deployment.given(), cli.api.given()].concat();
    let deployment = Deployment::read(&cli.place, flags).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(node::run(&deployment).await?)
}
