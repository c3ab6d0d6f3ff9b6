//! `status`: read models, their generations, how far they are, and what needs a rebuild and why.

use annals_api::endpoint::Endpoint;
use annals_engine::engine::system_now;
use annals_engine::log::checked::CheckedReader;
use annals_engine::rebuild::{Plan, Why, plan};
use annals_engine::sink::{Generation, GenerationState, GenerationStore};
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::time::Timestamp;
use annals_projectors::process::say;
use serde_json::{Value, json};

use super::plan::{called_for, plan_failure, why};
use super::{Site, generation_json, store_failure};
use crate::cli::Global;
use crate::client::{CallError, Client};
use crate::exit::Exit;
use crate::output::{Format, Output, columns, print_lines};

/// `status`.
pub(crate) async fn run(global: &Global, output: Output) -> anyhow::Result<Exit> {
    let site = Site::open(global).await?;
    let runners = runners(global).await;
    let mut lines = Vec::new();
    let mut advice = Vec::new();
    for name in site.names() {
        let newest = site.read_model(name, None)?;
        let planned = plan(&*site.log, &site.store, &newest, None).await.map_err(|error| plan_failure(&error))?;
        let generations = site.store.list(name).await.map_err(|error| store_failure(&error))?;
        let mut of_name = Vec::new();
        for generation in &generations {
            of_name.push(line(&site, generation, &planned, &runners).await);
        }
        advice.extend(advise(name, &planned, &of_name));
        lines.extend(of_name);
    }
    match output.format() {
        Format::Json => output.document(&json!({"generations": lines, "advice": advice}), String::new)?,
        Format::Jsonl => output.records(&lines, &[])?,
        Format::Table => {
            let shown = [
                ("read model", "/read_model"),
                ("version", "/version"),
                ("generation", "/generation"),
                ("state", "/state"),
                ("runner", "/runner"),
                ("lag events", "/lag_events"),
                ("lag s", "/lag_seconds"),
                ("verified", "/verified"),
                ("since", "/started_at"),
                ("reason", "/reason"),
                ("trouble", "/trouble"),
            ];
            let may_go = ["lag s", "verified", "since"];
            let shown = columns(&shown).into_iter().map(|column| match may_go.contains(&column.heading.as_str()) {
                true => column.optional(),
                false => column,
            });
            output.records(&lines, &shown.collect::<Vec<_>>())?;
            for one in &advice {
                let (name, why, remedy) = (text(one, "read_model"), text(one, "why"), text(one, "remedy"));
                print_lines(&format!("\n{name}: {why}\n  → {remedy}"))?;
            }
        }
    }
    if output.format() == Format::Table {
        server(global, !runners.is_null());
    }
    Ok(Exit::Ok)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// How the runners are, as the directory's server tells; null where none answers.
async fn runners(global: &Global) -> Value {
    let Ok(client) = Client::find(global) else { return Value::Null };
    match client.get("/v1/read-models", &[]).await {
        Ok(runners) => runners,
        Err(CallError::Unreachable { .. } | CallError::Timeout { .. }) => Value::Null,
        // It answers, if only to say no.
        Err(CallError::Refused(_) | CallError::Foreign { .. }) => json!({}),
    }
}

/// One generation and how far it is behind the log.
async fn line(site: &Site, generation: &Generation, planned: &Plan, runners: &Value) -> Value {
    let mut line = generation_json(generation);
    let shortened = |digest: &String| format!("{}…", digest.get(..12).unwrap_or(digest));
    line["verified"] = json!(generation.verified_digest.as_ref().map(shortened));
    line["trouble"] = json!(generation.failure);
    if !generation.state.is_run() {
        return line;
    }
    let read_model = list(&runners["read_models"]).find(|one| one["name"] == line["read_model"]);
    let shown = read_model.and_then(|one| list(&one["generations"]).find(|one| one["id"] == line["generation"]));
    if let Some(runner) = shown.map(|shown| &shown["runner"]) {
        line["runner"] = runner["state"].clone();
        line["trouble"] = runner["cause"].clone();
        line["tried_again"] = json!(runner["state"] == "retrying" || runner["tried_again"] == true);
    }
    let checkpoints = match site.store.checkpoints(generation).await {
        Ok(checkpoints) => checkpoints,
        Err(error) => {
            line["trouble"] = json!(error.to_string());
            return line;
        }
    };
    let (mut events, mut oldest): (_, Option<Timestamp>) = (0, None);
    let mut positions = Vec::new();
    for extent in &planned.partitions {
        let reached = checkpoints.get(extent.at);
        let behind = extent.ordinal.0.saturating_sub(reached.ordinal.0);
        events += behind;
        if behind > 0 {
            let waiting = first_behind(site, extent.at, reached).await;
            oldest = [oldest, waiting].into_iter().flatten().min();
        }
        positions.push(json!({"partition": extent.at.to_string(), "offset": reached.offset, "ordinal": reached.ordinal, "behind": behind}));
    }
    line["lag_events"] = json!(events);
    let seconds = oldest.map_or(0, |oldest| (system_now().0 - oldest.0).max(0) / 1_000_000);
    line["lag_seconds"] = json!(seconds);
    line["checkpoint"] = json!(positions);
    line
}

/// When the first event behind a checkpoint was written; nothing where it cannot be read: `log verify` says why.
async fn first_behind(site: &Site, at: ContextPartition, from: Checkpoint) -> Option<Timestamp> {
    let mut reader = CheckedReader::open(&*site.log, at, from).await.ok()?;
    let batch = reader.next().await.ok()??;
    batch.records.first().map(|record| record.envelope.emitted_at)
}

/// What an operator should do about a read model, and why.
fn advise(name: &str, planned: &Plan, lines: &[Value]) -> Vec<Value> {
    let advice = |why: String, remedy: String| json!({"read_model": name, "why": why, "remedy": remedy});
    let mut all = Vec::new();
    if called_for(&planned.why) {
        all.push(advice(why(planned), format!("annals rebuild {name}")));
    } else if let Why::ReadyToPromote(ready) = &planned.why {
        all.push(advice(
            why(planned),
            format!("annals verify {name} --generation {0}, then annals promote {name}", ready.id),
        ));
    }
    let live = GenerationState::Live.name();
    for line in lines.iter().filter(|line| line["state"] == live && line["trouble"].is_string()) {
        all.push(advice(text(line, "trouble").to_owned(), remedy(name, line)));
    }
    all
}

/// What helps a live generation in trouble. A rebuild finds a full disk as full.
fn remedy(name: &str, line: &Value) -> String {
    match line["tried_again"] == true {
        true => "see to the cause: the server tries again every few seconds".to_owned(),
        false => format!("annals rebuild {name}, then annals promote {name}"),
    }
}

fn server(global: &Global, answers: bool) {
    match Endpoint::of_running(&global.place.data) {
        Ok(Some(Endpoint { pid, url, .. })) if answers => say!("\nserved by process {pid} at {url}"),
        Ok(Some(Endpoint { pid, url, .. })) => {
            say!("\nprocess {pid} at {url}, which serves this directory, does not answer");
        }
        Ok(None) => say!("\nno server runs on {}; start one with `annals up`", global.place.data.display()),
        Err(error) => say!("\nendpoint.json cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_rebuild_what_is_tried_again() {
        assert!(remedy("portfolio", &json!({"tried_again": true})).starts_with("see to the cause"));
        for line in [json!({"tried_again": false}), json!({})] {
            assert_eq!(remedy("portfolio", &line), "annals rebuild portfolio, then annals promote portfolio");
        }
    }
}
