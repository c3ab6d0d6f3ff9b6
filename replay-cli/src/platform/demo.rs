//! The guided tour: the whole path on real input, with real processes, each claim held against what is found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_projectors::process::{say, stop};
use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::DemoArgs;
use crate::cargo_lock::Inventory;
use annals_cli::client::lines::LineAnswer;
use annals_cli::exit::{Exit, Failure};
use annals_cli::import::{CommandLine, Tally, send_all};
use annals_cli::output::cell::count;
use annals_cli::output::{Output, columns};
use annals_cli::progress::Progress;

mod crash;
mod inventory;
mod proof;
mod schema_change;
mod server;
mod stage;
mod tool;
mod writer;

use server::Server;
use stage::Stage;
use tool::Tool;

/// This repository's own lock file, as it was when this binary was built.
const OWN_LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));

/// The slug of the workspace that the first import goes into.
const FIRST_WORKSPACE: &str = "annals";

/// What all steps work with.
#[derive(Debug)]
struct Demo {
    stage: Stage,
    tool: Tool,
    data: PathBuf,
    inventory: Inventory,
    server: Server,
    /// The workspace of the first import.
    workspace: Uuid,
}

/// Sends commands under a progress bar; what was answered, and how long it took.
async fn send_shown(demo: &Demo, title: &str, commands: Vec<CommandLine>) -> anyhow::Result<(Tally, Duration)> {
    let progress = Progress::start(title, "commands", Some(commands.len() as u64));
    let (mut tally, mut answered) = (Tally::default(), 0);
    let mut on_answer = |_: &CommandLine, _: &LineAnswer| {
        answered += 1;
        progress.set(answered);
    };
    let mut lines = commands.into_iter().map(|line| Ok(line.into()));
    let sent = send_all(&demo.server.client, &mut lines, &mut tally, &mut on_answer).await;
    let took = progress.finish();
    sent?;
    Ok((tally, took))
}

/// `demo`.
pub(crate) async fn run(output: Output, args: &DemoArgs) -> anyhow::Result<Exit> {
    let directory = tempfile::Builder::new().prefix("annals-demo-").tempdir().context("no temporary directory")?;
    let stop = stop::on_signal("stopping", "ended at once").context("signals cannot be caught")?;
    let done = tokio::select! {
        done = tour(directory.path(), output) => done,
        () = stop.cancelled() => {
            return Err(Failure::new(Exit::Interrupted, "interrupted").remedy("nothing is left behind; run `annals demo` again").into());
        }
    };
    let Demo { server, .. } = match done {
        Ok(demo) => demo,
        Err(error) => {
            say!("\nthe server: {}", server::last_words(directory.path()));
            return Err(error);
        }
    };
    if args.keep {
        keep(server, directory);
    } else {
        server.stop().await?;
    }
    Ok(Exit::Ok)
}

/// All steps, in order.
async fn tour(data: &Path, output: Output) -> anyhow::Result<Demo> {
    let mut demo = begin(data).await?;
    inventory::import(&mut demo).await?;
    inventory::look(&mut demo).await?;
    inventory::send_again(&mut demo).await?;
    crash::kill_and_resume(&mut demo).await?;
    schema_change::run(&mut demo).await?;
    proof::everything(&mut demo).await?;
    let stage = &demo.stage;
    say!();
    let proofs = stage.proofs();
    output.records(proofs, &columns(&[("what was proved", "/claim"), ("found", "/found")]))?;
    say!("\n{} claims held, in {:.1} s", proofs.len(), stage.seconds());
    Ok(demo)
}

async fn begin(data: &Path) -> anyhow::Result<Demo> {
    let mut stage = Stage::new();
    let inventory = Inventory::parse(OWN_LOCK).context("the lock file in this binary")?;
    let tool = Tool::new(data)?;
    stage.heading("Start everything on an empty directory");
    stage.command("annals up --first-version portfolio=1");
    let server = Server::start(tool.binary(), data, &["--first-version", "portfolio=1"]).await?;
    stage.say(&format!(
        "process {}, {}, log and read models in {}",
        server.endpoint.pid,
        server.endpoint.url,
        data.display()
    ));
    stage.say("read model portfolio begins with its version 1; this build also carries version 2, for later");
    Ok(Demo { stage, tool, data: data.to_owned(), inventory, server, workspace: Uuid::nil() })
}

fn keep(server: Server, directory: TempDir) {
    let data = directory.keep();
    let endpoint = server.keep();
    say!();
    say!("the server runs on:  {}", endpoint.url);
    say!("data directory:      {}", data.display());
    say!("its token:           in {}", annals_api::endpoint::path(&data).display());
    say!("try:                 annals --data {} status", data.display());
    say!(
        "                     annals --data {} query portfolio.applications --workspace {FIRST_WORKSPACE}",
        data.display()
    );
    say!("end it:              kill {}", endpoint.pid);
}

impl Demo {
    /// All rows of a query, which must cover what a token stands for.
    async fn rows(
        &self,
        name: &str,
        workspace: Uuid,
        more: &[(&str, &str)],
        token: &str,
    ) -> anyhow::Result<Vec<Value>> {
        let mut parameters = vec![("workspace_id".to_owned(), workspace.to_string())];
        parameters.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let ask = annals_cli::talk::query::Ask { client: &self.server.client, name, parameters, token: Some(token) };
        ask.all().await.map_err(|error| Failure::from(error).into())
    }

    /// Events of the log, by context, counted by another process.
    async fn events_in_log(&self, context: &str) -> anyhow::Result<u64> {
        let stats = self.tool.run(&self.stage, &["log", "stats"]).await?;
        let rows = stats["events"].as_array().context("`annals log stats` has no events")?;
        let of_context = rows.iter().filter(|row| row["context"] == context);
        Ok(of_context.filter_map(|row| row["events"].as_u64()).sum())
    }
}

/// A claim and a number, as a proof says it.
fn counted(number: u64, what: &str) -> String {
    format!("{} {what}", count(number))
}

/// The first records of a list, and how many more there are.
fn first_rows(stage: &Stage, rows: &[Value], shown: usize, pairs: &[(&str, &str)]) {
    stage.table(&rows[..rows.len().min(shown)], pairs);
    if rows.len() > shown {
        stage.say(&format!("… and {} more", count((rows.len() - shown) as u64)));
    }
}

/// A command body for a workspace.
fn body(request: &str, workspace: Uuid, aggregate: Uuid, payload: &Value) -> Value {
    json!({"client_request_id": request, "workspace_id": workspace, "aggregate_id": aggregate, "payload": payload})
}
