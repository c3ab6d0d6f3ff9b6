//! The process of one node of several that share the partitions of a log on Kafka. It owns what it is given, hands requests
//! for the rest on to their owners, and answers queries from read models that projectors keep current.

use std::process::ExitCode;

use annals_model::application::Application;
use annals_projectors::deployment::{ApiFlags, Deployment, DeploymentFlags, LogSettings, Place};
use annals_projectors::process::arguments::arguments;
use annals_projectors::process::exit::{Exit, Failure};
use annals_projectors::process::{self, say};
use clap::Parser;

use crate::node::{self, NodeOptions, Ready};

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

/// The whole process.
pub fn main(application: Application) -> ExitCode {
    let cli = match arguments::<Cli>() {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    process::run(run(application, &cli))
}

async fn run(application: Application, cli: &Cli) -> anyhow::Result<Exit> {
    let flags = [cli.deployment.given(), cli.api.given()].concat();
    let deployment = Deployment::read(&cli.place, flags).map_err(|error| Failure::usage(error.to_string()))?;
    if !matches!(deployment.log, LogSettings::Kafka(_)) {
        return Err(Failure::usage("annals-api is one node of several, which share a log on Kafka")
            .remedy("give --log kafka and --brokers; `annals up` serves a log in a file")
            .into());
    }
    let options = NodeOptions {
        application,
        deployment,
        projects: false,
        first_versions: Vec::new(),
        accept_clock: cli.api.accept_clock,
    };
    let ready = |node: &Ready| {
        let known = node.advertised.as_deref().unwrap_or_default();
        say!("annals-api {} is ready on {}, known to other nodes as {known}", env!("CARGO_PKG_VERSION"), node.url);
        if let Some(metrics) = node.metrics {
            say!("metrics at http://{metrics}/metrics");
        }
        Ok(())
    };
    node::run(options, ready).await?;
    Ok(Exit::Ok)
}
