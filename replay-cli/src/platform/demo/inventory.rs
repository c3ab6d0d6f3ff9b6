//! The first half of the tour: a real inventory goes in, is looked at, and one command is sent again.

use anyhow::Context as _;
use serde_json::Value;

use super::{Demo, FIRST_WORKSPACE, counted, first_rows, send_shown};
use crate::cargo_lock::application_id;
use crate::target;
use annals_cli::exit::Failure;
use annals_cli::import::CommandLine;
use annals_cli::output::cell::count;
use annals_cli::progress::rate;
use annals_cli::talk::{events_of, history_columns};

/// The application whose history is shown, and whose dependents are asked for.
const SHOWN: &str = "serde";

/// Imports this repository's own lock file.
pub(super) async fn import(demo: &mut Demo) -> anyhow::Result<()> {
    let counts = demo.inventory.counts();
    demo.stage.heading("Import this repository's own Cargo.lock over HTTP");
    demo.stage.command(&format!("annals import cargo-lock Cargo.lock --workspace-slug {FIRST_WORKSPACE}"));
    demo.stage.say(&format!(
        "{} applications, {} releases, {} dependencies; {} edges of the file are merged, for an application is a name, not a version",
        count(counts.applications),
        count(counts.releases),
        count(counts.edges),
        count(demo.inventory.edges_merged),
    ));
    demo.workspace = target::workspace_with_slug(&demo.server.client, FIRST_WORKSPACE).await?;
    let commands: Vec<CommandLine> = demo.inventory.commands(demo.workspace).collect();
    let (tally, took) = send_shown(demo, "   import", commands).await?;
    let per_second = rate(tally.accepted, took);
    demo.stage.prove(
        "every command of the import is accepted, one durable event each",
        tally.accepted == counts.commands() && tally.refused == 0 && tally.events == counts.commands(),
        format!("{} events, {} per second", count(tally.events), count(per_second)),
    )?;
    let token = tally.consistency_token.context("the import has no consistency token")?;
    let rows = demo.rows("portfolio.applications", demo.workspace, &[], &token).await?;
    demo.stage.say("");
    demo.stage.command(&format!("annals query portfolio.applications --workspace {FIRST_WORKSPACE}"));
    first_rows(
        &demo.stage,
        &rows,
        6,
        &[
            ("name", "/name"),
            ("latest release", "/latest_release"),
            ("criticality", "/criticality"),
            ("status", "/status"),
        ],
    );
    demo.stage.prove(
        "the read model shows every application right behind the import, by its consistency token",
        rows.len() as u64 == counts.applications,
        counted(rows.len() as u64, "applications"),
    )?;
    Ok(())
}

/// Shows one application's history and who depends on it.
pub(super) async fn look(demo: &mut Demo) -> anyhow::Result<()> {
    let id = application_id(demo.workspace, SHOWN);
    demo.stage.heading("One application: its history, and what breaks if it has a hole");
    demo.stage.command(&format!("annals history portfolio.application {SHOWN} --workspace {FIRST_WORKSPACE}"));
    let events = history(demo, id).await?;
    demo.stage.columns(&events, &history_columns());
    let releases = events.len().saturating_sub(1);
    demo.stage.prove(
        "a history begins with the registration and has each event once, in order",
        events.first().is_some_and(|event| event["event_type"] == "application.registered")
            && releases > 0
            && events.iter().zip(1u64..).all(|(event, version)| event["sequence"] == version),
        format!("{} events of {SHOWN}", events.len()),
    )?;
    demo.stage.say("");
    demo.stage.command(&format!(
        "annals query portfolio.dependents --workspace {FIRST_WORKSPACE} --param name={SHOWN} --all"
    ));
    let token = token_of(demo, id).await?;
    let rows = demo.rows("portfolio.dependents", demo.workspace, &[("name", SHOWN)], &token).await?;
    let mut found: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    found.sort_unstable();
    demo.stage.say(&wrapped(&found));
    let expected = demo.inventory.dependents(SHOWN);
    demo.stage.prove(
        &format!("the direct dependents of {SHOWN} are those of the lock file"),
        found == expected,
        counted(found.len() as u64, "applications"),
    )?;
    Ok(())
}

/// Sends one command of the import again.
pub(super) async fn send_again(demo: &mut Demo) -> anyhow::Result<()> {
    demo.stage.heading("Send one command again");
    let id = application_id(demo.workspace, SHOWN);
    let line = demo
        .inventory
        .commands(demo.workspace)
        .find(|line| line.label == SHOWN)
        .with_context(|| format!("the lock file has no {SHOWN}"))?;
    let before = history(demo, id).await?;
    let (command_type, body) = single(&line)?;
    let answer = demo.server.client.command(&command_type, &body).await.map_err(Failure::from)?;
    let after = history(demo, id).await?;
    let first_operation = before.first().map(|event| event["operation_id"].clone()).unwrap_or_default();
    demo.stage.say(&format!(
        "POST /v1/commands/{command_type} with the request id of the import: replayed = {}",
        answer.replayed
    ));
    demo.stage.prove(
        "a command sent again is answered as before, not repeated",
        answer.replayed && first_operation == answer.operation_id.to_string() && before == after,
        format!("same operation, still {} events", after.len()),
    )?;
    Ok(())
}

async fn history(demo: &Demo, id: uuid::Uuid) -> anyhow::Result<Vec<Value>> {
    let client = &demo.server.client;
    let events = events_of(client, "portfolio.application", id, Some(demo.workspace)).await;
    events.map_err(|error| Failure::from(error).into())
}

async fn token_of(demo: &Demo, id: uuid::Uuid) -> anyhow::Result<String> {
    let path = format!("/v1/aggregates/portfolio.application/{id}");
    let parameters = [("workspace_id", demo.workspace.to_string())];
    let view = demo.server.client.get(&path, &parameters).await.map_err(Failure::from)?;
    Ok(view["consistency_token"].as_str().context("an aggregate without a consistency token")?.to_owned())
}

/// A line of an import as a command of its own.
fn single(line: &CommandLine) -> anyhow::Result<(String, Value)> {
    let mut body: Value = serde_json::from_str(&line.line)?;
    let fields = body.as_object_mut().context("a line is an object")?;
    let command_type = fields.remove("type").context("a line has a type")?;
    Ok((command_type.as_str().unwrap_or_default().to_owned(), body))
}

/// Names in lines that fit a terminal of 80 columns behind the demo's indent.
fn wrapped(names: &[&str]) -> String {
    let mut text = String::new();
    let mut width = 0;
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push(',');
            width += 1 + name.chars().count() + 1;
            if width > 76 {
                text.push('\n');
                width = name.chars().count();
            } else {
                text.push(' ');
            }
        } else {
            width = name.chars().count();
        }
        text.push_str(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_wrapped_between_them() {
        let names = ["abcdefghi"; 20];
        let text = wrapped(&names);
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.chars().count() <= 77), "{text}");
        assert_eq!(text.replace('\n', " ").split(", ").collect::<Vec<_>>(), names);
    }
}
