//! `status`: read models, their generations, how far they are, what needs a rebuild and why, and who works on them.

mod advice;
mod patience;
mod processes;

use std::time::Duration;

use annals_api::endpoint::Endpoint;
use annals_engine::generations::keep::Keep;
use annals_engine::generations::life::Life;
use annals_engine::log::checked::CheckedReader;
use annals_engine::owners::system_now;
use annals_engine::rebuild::extent::{Extent, extents};
use annals_engine::rebuild::{PlanError, plan};
use annals_engine::sink::{Generation, GenerationState, KnownProcess};
use annals_model::application::Application;
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::time::Timestamp;
use annals_projectors::process::say;
use serde_json::{Value, json};

use self::advice::{advise, leaving};
use self::patience::{Patience, open_store};
use super::plan::plan_failure;
use super::{Site, generation_json};
use crate::cli::Global;
use crate::client::{CallError, Client};
use crate::data_dir::{existing, read_log};
use crate::exit::Exit;
use crate::failure::{read_failure, store_failure};
use crate::limits;
use crate::output::cell::shortened;
use crate::output::fold::{Edges, fold};
use crate::output::{Format, Output, columns, print_lines, table, terminal_columns};

/// `status`. It ends with 1 where the store of the read models does not answer: what else there is to tell is told all the
/// same.
pub(crate) async fn run(global: &Global, output: Output) -> anyhow::Result<Exit> {
    let deployment = existing(global)?;
    let log = read_log(global, &deployment).await?.shared();
    let patience = Patience::default();
    let (store, runners) = tokio::join!(open_store(&global.application, &deployment, log.id()), runners(global));
    let mut seen = Seen { runners, processes: Vec::new() };
    let (mut lines, mut advice) = (Vec::new(), Vec::new());
    let silent = match store? {
        Ok(store) => {
            look(
                &Site { application: global.application.clone(), log, store, keep: deployment.keep },
                &patience,
                &mut seen,
                (&mut lines, &mut advice),
            )
            .await?
        }
        Err(cause) => Some(cause),
    };
    if let Some(cause) = &silent {
        lines.extend(unknown(&global.application, &seen.runners, &lines, cause));
        advice.push(json!({"read_model": "all", "why": cause, "remedy": advice::SEE_TO_IT}));
    }
    let processes = processes::lines(&seen.processes);
    match output.format() {
        Format::Json => {
            let document = json!({"generations": lines, "advice": advice, "processes": processes});
            output.document(&document, String::new)?;
        }
        Format::Jsonl => output.records(&lines, &[])?,
        Format::Table => {
            print_lines(&human(&lines, &processes, &advice, terminal_columns()))?;
            server(global, !seen.runners.is_null());
        }
    }
    Ok(if silent.is_some() { Exit::Failed } else { Exit::Ok })
}

/// Looks at every read model; why the rest of them is unknown, where the registry stopped answering.
async fn look(
    site: &Site,
    patience: &Patience,
    seen: &mut Seen,
    (lines, advice): (&mut Vec<Value>, &mut Vec<Value>),
) -> anyhow::Result<Option<String>> {
    match patience.ask(site.store.registry().processes()).await {
        Ok(processes) => seen.processes = processes,
        Err(error) if error.is_transient() => return Ok(Some(error.to_string())),
        Err(error) => return Err(store_failure(&error).into()),
    }
    for name in site.names() {
        let newest = site.read_model(name, None)?;
        let ends = extents(&*site.log, &newest.contexts()).await.map_err(|error| read_failure(&error))?;
        let generations = match patience.ask(site.store.list(name)).await {
            Ok(generations) => generations,
            Err(error) if error.is_transient() => return Ok(Some(error.to_string())),
            Err(error) => return Err(store_failure(&error).into()),
        };
        let planned = patience.ask(async {
            match plan(&*site.log, &site.store, &newest, None).await {
                Ok(planned) => Ok(Ok(planned)),
                Err(PlanError::Store(error)) => Err(error),
                Err(error @ PlanError::Read(_)) => Ok(Err(plan_failure(&error))),
            }
        });
        // One generation that does not answer must not hide all the others.
        let planned = match planned.await {
            Ok(planned) => Ok(planned?),
            Err(error) => Err(error.to_string()),
        };
        let mut of_name = Vec::new();
        for generation in &generations {
            of_name.push(line(site, patience, generation, &ends, seen).await);
        }
        mark_old(name, site.keep, generations, &mut of_name);
        advice.extend(advise(name, planned.as_ref().map_err(String::as_str), &of_name));
        advice.extend(leaving(&site.application.read_models, name, &of_name));
        lines.extend(of_name);
    }
    Ok(None)
}

/// Says of each generation whether it goes when another one is promoted. `lines` are theirs, in their order.
fn mark_old(name: &str, keep: Keep, generations: Vec<Generation>, lines: &mut [Value]) {
    let readable: Vec<_> = lines.iter().map(|line| line["lag_events"].is_u64()).collect();
    let good =
        generations.iter().zip(readable).filter(|(generation, is_read)| *is_read && generation.mismatch.is_none());
    let good: Vec<_> = good.map(|(generation, _)| generation.id).collect();
    let old = Life::new(name, 0, generations).old_after_a_promotion(keep, |generation| good.contains(&generation.id));
    for line in lines {
        line["dropped_by_a_promotion"] = json!(old.iter().any(|old| json!(old.id) == line["generation"]));
    }
}

/// Read models of which nothing was told, each with what is known of it all the same.
fn unknown(application: &Application, runners: &Value, lines: &[Value], cause: &str) -> Vec<Value> {
    let is_told = |name: &str| lines.iter().any(|line| line["read_model"] == *name);
    let told = |name: &str| list(&runners["read_models"]).find(|one| one["name"] == *name);
    let untold = application.read_model_names().into_iter().filter(|name| !is_told(name));
    let one = |name: &str| {
        let live = told(name).map(|told| list(&told["generations"]).find(|one| one["state"] == "live"));
        let live = live.flatten().unwrap_or(&Value::Null);
        json!({
            "read_model": name, "version": live["version"], "generation": live["id"], "state": "unknown",
            "runner": live["runner"]["state"], "trouble": cause, "tried_again": true,
        })
    };
    untold.map(one).collect()
}

/// All of it for people, in at most so many columns.
fn human(lines: &[Value], processes: &[Value], advice: &[Value], width: Option<u16>) -> String {
    let mut parts = vec![generations(lines, width)];
    if !processes.is_empty() {
        parts.push(processes::table(processes, width));
    }
    let columns = width.map_or(usize::MAX, usize::from);
    let folded = |line: &str, first| fold(line, columns, &Edges { first, rest: "    ", unfinished: "" });
    parts.extend(going(lines).map(|told| folded(&told, "")));
    parts.extend(advice.iter().map(|one| {
        let why = format!("{}: {}", text(one, "read_model"), text(one, "why"));
        format!("{}\n{}", folded(&why, ""), folded(text(one, "remedy"), "  → "))
    }));
    parts.join("\n\n")
}

/// What the next promotion drops, in one line.
fn going(lines: &[Value]) -> Option<String> {
    let is_old = |line: &&Value| line["dropped_by_a_promotion"] == true;
    let named = |line: &Value| format!("{} generation {}", text(line, "read_model"), line["generation"]);
    let named: Vec<String> = lines.iter().filter(is_old).map(named).collect();
    (!named.is_empty()).then(|| format!("the next promotion drops what is old: {}", named.join(", ")))
}

/// The generations that say something of now, in as little room as that takes.
fn generations(lines: &[Value], width: Option<u16>) -> String {
    let shown: Vec<Value> = lines.iter().filter(|line| !is_history(line, lines)).map(in_short).collect();
    let pairs = [
        ("read model", "/read_model"),
        ("v", "/version"),
        ("gen", "/generation"),
        ("state", "/state"),
        ("runner", "/runner"),
        ("lag events", "/lag_events"),
        ("lag s", "/lag_seconds"),
        ("verified", "/verified"),
        ("since", "/started_at"),
        ("reason", "/reason"),
        ("trouble", "/trouble"),
    ];
    let may_go = ["lag s", "verified", "since", "reason"];
    let shown_columns = columns(&pairs).into_iter().map(|column| match may_go.contains(&column.heading.as_str()) {
        true => column.optional(),
        false => column,
    });
    let mut text = table(&shown, &shown_columns.collect::<Vec<_>>(), width);
    let left_out = lines.len() - shown.len();
    if left_out > 0 {
        text.push_str(&format!("\n({left_out} more that failed, before others that did not; -o json has all)"));
    }
    text
}

/// A build that failed before another one succeeded: nothing is to be done about it any more.
fn is_history(line: &Value, lines: &[Value]) -> bool {
    let later = |other: &Value| {
        other["read_model"] == line["read_model"] && other["generation"].as_u64() > line["generation"].as_u64()
    };
    line["state"] == GenerationState::Failed.name() && lines.iter().any(later)
}

/// Long texts cut: what an operator should know in full is said below, once.
fn in_short(line: &Value) -> Value {
    let mut line = line.clone();
    for name in ["reason", "trouble"] {
        if let Some(long) = line[name].as_str() {
            line[name] = json!(shortened(long, limits::STATUS_TEXT_CHARS_MAX));
        }
    }
    line
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
    let asking = client.get("/v1/read-models", &[]);
    let Ok(told) = tokio::time::timeout(Duration::from_millis(limits::STATUS_ANSWER_MS_MAX), asking).await else {
        // It looks into a store that does not answer.
        return json!({});
    };
    match told {
        Ok(runners) => runners,
        Err(CallError::Unreachable { .. } | CallError::Timeout { .. }) => Value::Null,
        // It answers, if only to say no.
        Err(CallError::Refused(_) | CallError::Foreign { .. }) => json!({}),
    }
}

/// What processes say of themselves.
struct Seen {
    /// The server's answer.
    runners: Value,
    processes: Vec<KnownProcess>,
}

/// One generation and how far it is behind the log.
async fn line(site: &Site, patience: &Patience, generation: &Generation, ends: &[Extent], seen: &Seen) -> Value {
    let mut line = generation_json(generation);
    line["trouble"] = json!(generation.failure);
    if patience.ask(site.store.is_abandoned(generation)).await.unwrap_or(false) {
        line["state"] = json!("dead");
        line["trouble"] = json!("its builder died; a rebuild begins it anew");
    }
    line["verified"] = match (&generation.mismatch, &generation.verified_digest) {
        (Some(_), _) => json!("FAILED"),
        (None, Some(digest)) => json!(format!("{}…", digest.get(..12).unwrap_or(digest))),
        (None, None) => Value::Null,
    };
    if !generation.state.is_run() {
        return line;
    }
    let name = &generation.read_model;
    let told = list(&seen.runners["read_models"]).find(|one| one["name"] == **name).unwrap_or(&Value::Null);
    let shown = list(&told["generations"]).find(|one| one["id"] == line["generation"]);
    let keeper = seen.processes.iter().find(|process| process.keeps(name));
    line["runner"] = match (shown.map(|shown| text(&shown["runner"], "state")), keeper) {
        // It runs, or does not, in the process that was asked.
        (Some(state), _) if !matches!(state, "elsewhere" | "none" | "") => json!(state),
        (_, Some(keeper)) => json!(processes::name(keeper)),
        (_, None) => json!("none"),
    };
    lag(site, patience, generation, ends, &mut line).await;
    trouble(generation, shown, told, &seen.processes, &mut line);
    line
}

/// How far a generation is behind the log; where that cannot be read, this is its trouble.
async fn lag(site: &Site, patience: &Patience, generation: &Generation, ends: &[Extent], line: &mut Value) {
    let checkpoints = match patience.ask(site.store.probe(generation)).await {
        Ok(checkpoints) => checkpoints,
        Err(error) => {
            line["trouble"] = json!(error.to_string());
            line["tried_again"] = json!(error.is_transient());
            return;
        }
    };
    let (mut events, mut oldest): (u64, Option<Timestamp>) = (0, None);
    let mut positions = Vec::new();
    for extent in ends {
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
}

/// What is wrong with a generation that could be read: what its runner says, what any process found, that nobody moves it,
/// or what its last verification found. The first of them; each has its own remedy.
fn trouble(generation: &Generation, shown: Option<&Value>, told: &Value, processes: &[KnownProcess], line: &mut Value) {
    if line["trouble"].is_string() {
        return;
    }
    let mut say = |cause: &str, tried_again: bool| {
        line["trouble"] = json!(cause);
        line["tried_again"] = json!(tried_again);
    };
    let runner = shown.map_or(&Value::Null, |shown| &shown["runner"]);
    if let Some(cause) = runner["cause"].as_str().filter(|_| runner["state"] != "none") {
        return say(cause, runner["state"] == "retrying" || runner["tried_again"] == true);
    }
    if generation.state == GenerationState::Live {
        if let Some(cause) = told["trouble"]["cause"].as_str() {
            return say(cause, told["trouble"]["passes"] == true);
        }
        // What processes told some seconds ago may be of another generation, and over; a server that answers knows.
        let alive = processes.iter().filter(|process| process.is_alive() && told.is_null());
        let label = generation.to_string();
        let found = alive.flat_map(|process| &process.report.troubles).find(|found| found.cause.contains(&label));
        if let Some(found) = found {
            return say(&found.cause, found.passes);
        }
    }
    if let Some(found) = &generation.mismatch {
        return say(&format!("its last verification failed: {found}"), false);
    }
    let behind = line["lag_events"].as_u64().unwrap_or_default();
    if behind > 0 && line["runner"] == "none" {
        line["trouble"] = json!(format!("{behind} behind, and no process keeps it current"));
        line["nobody"] = json!(true);
    }
}

/// When the first event behind a checkpoint was written; nothing where it cannot be read: `log verify` says why.
async fn first_behind(site: &Site, at: ContextPartition, from: Checkpoint) -> Option<Timestamp> {
    let mut reader = CheckedReader::open(&*site.log, at, from).await.ok()?;
    let batch = reader.next().await.ok()??;
    batch.records.first().map(|record| record.envelope.emitted_at)
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
mod tests;
