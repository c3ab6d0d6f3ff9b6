//! The server is killed in the middle of an import, and nothing that it acknowledged is lost or repeated.

use anyhow::Context as _;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Notify;
use uuid::Uuid;

use super::server::Server;
use super::{Demo, counted, send_shown};
use crate::limits;
use crate::target;
use annals_cli::client::Client;
use annals_cli::client::lines::LineAnswer;
use annals_cli::exit::Failure;
use annals_cli::import::{CommandLine, ImportError, Tally, send_all};
use annals_cli::output::cell::count;
use annals_cli::progress::Progress;

/// Workspaces of the second import: enough to be caught in the middle, and to make the rates that follow mean something.
const TEAMS: u32 = 12;

/// Imports for more teams, kills the server on the way, starts another and resumes.
pub(super) async fn kill_and_resume(demo: &mut Demo) -> anyhow::Result<()> {
    demo.stage.heading("Kill the server with SIGKILL in the middle of a second import");
    let mut commands: Vec<CommandLine> = Vec::new();
    for team in 1..=TEAMS {
        let workspace = target::workspace_with_slug(&demo.server.client, &format!("team-{team:02}")).await?;
        commands.extend(demo.inventory.commands(workspace));
    }
    let before = demo.events_in_log("portfolio").await?;
    demo.stage.say(&format!(
        "the same lock file for {TEAMS} more teams, a workspace each: {} commands",
        count(commands.len() as u64)
    ));
    let total = commands.len() as u64;
    let acknowledged = import_until_killed(demo, &commands).await?;

    demo.stage.command("annals up");
    demo.server = Server::start(demo.tool.binary(), &demo.data, &[]).await?;
    demo.stage.say(&format!("a new process, {}, on the same directory", demo.server.endpoint.pid));
    let there = look_up(&demo.server.client, &acknowledged).await?;
    demo.stage.prove(
        "every command acknowledged before the kill is in the log, looked up by its operation",
        there == acknowledged.len() as u64,
        format!("{} of {}", count(there), count(acknowledged.len() as u64)),
    )?;

    let (tally, _) = send_shown(demo, "   import, resumed", commands).await?;
    demo.stage.prove(
        "the resumed import does the rest and repeats nothing",
        tally.accepted + tally.replayed == total && tally.refused == 0 && tally.replayed >= acknowledged.len() as u64,
        format!("{} new + {} answered again = {}", count(tally.accepted), count(tally.replayed), count(total)),
    )?;
    let events = demo.events_in_log("portfolio").await?.saturating_sub(before);
    demo.stage.prove(
        "the log has exactly one event per command of the second import",
        events == total,
        counted(events, "events"),
    )?;
    Ok(())
}

/// Sends the import, kills the server once a third is acknowledged, and gives the acknowledged operations.
async fn import_until_killed(demo: &mut Demo, commands: &[CommandLine]) -> anyhow::Result<Vec<Uuid>> {
    let enough = commands.len() / 3;
    let reached = Notify::new();
    let mut acknowledged: Vec<Uuid> = Vec::new();
    let progress = Progress::start("   import", "commands", Some(commands.len() as u64));
    let client = demo.server.client.clone();
    let mut on_answer = |_: &CommandLine, answer: &LineAnswer| {
        if let LineAnswer::Accepted(answer) = answer {
            acknowledged.push(answer.operation_id);
        }
        progress.set(acknowledged.len() as u64);
        if acknowledged.len() >= enough {
            reached.notify_one();
        }
    };
    let mut tally = Tally::default();
    let mut lines = commands.iter().cloned().map(|line| Ok(line.into()));
    let sending = async {
        let sent = send_all(&client, &mut lines, &mut tally, &mut on_answer).await;
        // However it ended, the killer must not wait for more.
        reached.notify_one();
        sent
    };
    let killing = async {
        reached.notified().await;
        demo.server.kill();
    };
    let (sent, ()) = tokio::join!(sending, killing);
    progress.clear();
    match sent {
        Err(ImportError::Call { cause, .. }) if cause.is_passing() => {}
        Err(error) => return Err(error).context("the import ended otherwise than by a broken connection"),
        Ok(()) => anyhow::bail!("the import was over before the server was dead; nothing was shown"),
    }
    demo.stage.say(&format!(
        "killed process {} after {} of {} commands were acknowledged",
        demo.server.endpoint.pid,
        count(acknowledged.len() as u64),
        count(commands.len() as u64),
    ));
    Ok(acknowledged)
}

/// How many of the operations the server knows.
async fn look_up(client: &Client, operations: &[Uuid]) -> anyhow::Result<u64> {
    let known = stream::iter(operations)
        .map(|operation| async move {
            let answer = client.get(&format!("/v1/operations/{operation}"), &[]).await;
            let answer = answer.map_err(|error| anyhow::Error::from(Failure::from(error)))?;
            anyhow::Ok(u64::from(answer["operation_id"] == operation.to_string()))
        })
        .buffer_unordered(limits::LOOKUPS_AT_A_TIME);
    known.try_fold(0, |sum, one| async move { Ok(sum + one) }).await
}
