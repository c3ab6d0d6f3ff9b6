//! `dev`: real servers of one's own, gone with Ctrl-C.

use annals_dev::{kafka, postgres};
use annals_projectors::process::arguments::print;
use annals_projectors::process::{say, stop};
use anyhow::Context as _;

use crate::cli::{DevCommand, DevKafkaArgs};
use crate::exit::{Exit, Failure};

/// `dev`.
pub(crate) async fn run(command: &DevCommand) -> anyhow::Result<Exit> {
    match command {
        DevCommand::Kafka(args) => kafka(args).await,
        DevCommand::Postgres => postgres().await,
    }
}

/// `dev kafka`: addresses on stdout, then brokers until Ctrl-C.
async fn kafka(args: &DevKafkaArgs) -> anyhow::Result<Exit> {
    let brokers = usize::from(args.brokers);
    say!("starting {brokers} broker{}", if brokers == 1 { "" } else { "s" });
    serve(
        move || kafka::Cluster::start(brokers),
        |cluster| {
            let addresses = cluster.addresses();
            (addresses.clone(), format!("annals up --log kafka --brokers {addresses}"))
        },
    )
    .await
}

/// `dev postgres`: the address of a database on stdout, then the server until Ctrl-C.
async fn postgres() -> anyhow::Result<Exit> {
    let start = || {
        let server = postgres::Server::start()?;
        server.create_role("annals", "")?;
        server.create_database("annals", "annals")?;
        Ok(server)
    };
    serve(start, |server| {
        let url = server.url("annals", "annals");
        (url.clone(), format!("annals up --read-models {url}"))
    })
    .await
}

/// Starts a server, tells its address and the line to copy, and ends it on Ctrl-C.
async fn serve<S: Send + 'static>(
    start: impl FnOnce() -> anyhow::Result<S> + Send + 'static,
    tell: impl FnOnce(&S) -> (String, String),
) -> anyhow::Result<Exit> {
    let stop = stop::on_signal("stopping", "ended at once").context("signals cannot be caught")?;
    let starting = tokio::task::spawn_blocking(start);
    let server = tokio::select! {
        started = starting => started.context("the start ended by a panic")?,
        () = stop.cancelled() => return Ok(Exit::Interrupted),
    };
    let server = server.map_err(|error| Failure::usage(format!("{error:#}")))?;
    let (address, line) = tell(&server);
    print(&format!("{address}\n"))?;
    say!("  → {line}");
    say!("Ctrl-C ends it, and all that is in it");
    stop.cancelled().await;
    // It waits for its processes.
    tokio::task::spawn_blocking(move || drop(server)).await.context("the stop ended by a panic")?;
    Ok(Exit::Ok)
}
