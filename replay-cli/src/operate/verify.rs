//! `verify`: is a generation what the log says?

use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::FoldOptions;
use annals_engine::sink::Generation;
use annals_engine::verify::{Divergence, RowImage, VerifyError, VerifyOutcome, verify};
use annals_model::projection::{Column, ReadModel, RowLife};
use annals_projectors::process::say;
use serde_json::{Map, Value, json};

use super::{Site, Watch};
use crate::cli::{Global, VerifyArgs};
use crate::exit::{Exit, Failure};
use crate::failure::{fold_failure, sink_exit, store_failure};
use crate::output::cell::count;
use crate::output::{Format, Output, columns, print_lines};

/// `verify`.
pub(crate) async fn run(global: &Global, output: Output, args: &VerifyArgs) -> anyhow::Result<Exit> {
    if args.generation.is_some() && args.names.len() != 1 {
        return Err(Failure::usage("--generation needs exactly one read model's name").into());
    }
    let site = Site::open(global).await?;
    let names: Vec<String> = match args.names.as_slice() {
        [] => site.names().iter().map(ToString::to_string).collect(),
        names => names.to_vec(),
    };
    let mut results = Vec::new();
    for name in &names {
        // Of all of them; who names one wants to know of it.
        if args.names.is_empty() && site.store.live(name).await.map_err(|error| store_failure(&error))?.is_none() {
            say!("{name} is not begun yet: whatever keeps read models current begins it when it starts");
            continue;
        }
        let generation = site.generation(name, args.generation).await?;
        results.push(one(&site, &generation).await?);
    }
    write(output, &results)?;
    if results.iter().all(|result| result["matches"] == true) {
        return Ok(Exit::Ok);
    }
    for result in results.iter().filter(|result| result["matches"] != true) {
        let name = result["read_model"].as_str().unwrap_or_default();
        say!("error: {name} generation {} is not what the log says", result["generation"]);
        say!("  → build it anew: `annals rebuild {name}`, verify, promote");
    }
    Ok(Exit::Mismatch)
}

async fn one(site: &Site, generation: &Generation) -> anyhow::Result<Value> {
    let read_model = site.read_model(&generation.read_model, Some(generation.version))?;
    let control = Control::default();
    let watch = Watch::start(&format!("verify {}", generation.read_model), &control);
    let options = FoldOptions::default();
    let verified = verify(site.shared_log(), &site.store, read_model.clone(), generation, options, &control).await;
    drop(watch);
    let outcome = verified.map_err(|error| failure(&error))?;
    let mut result = json!({
        "read_model": generation.read_model,
        "version": generation.version,
        "generation": generation.id,
        "state": generation.state,
        "matches": matches!(outcome, VerifyOutcome::Equal { .. }),
    });
    match outcome {
        VerifyOutcome::Equal { digest, rows, events, .. } => {
            result["rows"] = json!(rows);
            result["events"] = json!(events);
            let digest = digest.to_string();
            result["short_digest"] = json!(digest.get(..16));
            result["digest"] = json!(digest);
        }
        VerifyOutcome::Diverges { diverging, first, events, tables, .. } => {
            result["rows"] = json!(tables.iter().map(|table| table.rows).sum::<u64>());
            result["events"] = json!(events);
            result["diverging"] = json!(diverging);
            result["divergences"] = first.iter().map(|divergence| divergence_json(divergence, &read_model)).collect();
        }
        VerifyOutcome::NoSuchCheckpoint { at, checkpoint, found } => {
            result["checkpoint"] = json!(format!(
                "{at}: it stands at offset {}, ordinal {}; the log has ordinal {} there",
                checkpoint.offset, checkpoint.ordinal, found.ordinal
            ));
        }
    }
    Ok(result)
}

fn write(output: Output, results: &[Value]) -> anyhow::Result<()> {
    let summary = [
        ("read model", "/read_model"),
        ("version", "/version"),
        ("generation", "/generation"),
        ("state", "/state"),
        ("equals the log", "/matches"),
        ("rows", "/rows"),
        ("events", "/events"),
        ("digest", "/short_digest"),
    ];
    output.records(results, &columns(&summary))?;
    if output.format() != Format::Table {
        return Ok(());
    }
    for result in results {
        if let Some(checkpoint) = result["checkpoint"].as_str() {
            say!("{}: {checkpoint}", result["read_model"].as_str().unwrap_or_default());
        }
        let Some(divergences) = result["divergences"].as_array().filter(|rows| !rows.is_empty()) else { continue };
        print_lines("")?;
        let rows: Vec<Value> = divergences.iter().flat_map(differing_columns).collect();
        output.records(
            &rows,
            &columns(&[
                ("table", "/table"),
                ("row", "/row"),
                ("column", "/column"),
                ("stored", "/stored"),
                ("by the log", "/folded"),
                ("its events", "/events"),
            ]),
        )?;
        let more = result["diverging"].as_u64().unwrap_or_default().saturating_sub(divergences.len() as u64);
        if more > 0 {
            say!("… and {} rows more", count(more));
        }
    }
    Ok(())
}

/// One line per column that differs.
fn differing_columns(divergence: &Value) -> Vec<Value> {
    let (stored, folded) = (&divergence["stored"], &divergence["folded"]);
    let text = |name: &str| divergence[name].as_str().unwrap_or_default();
    // Whole, unlike other ids in tables: this is what somebody looks the row up by.
    let row = format!("id {} in workspace {}", text("id"), text("workspace_id"));
    let offsets: Vec<String> = divergence["events"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| format!("{} at {}", event["event_type"].as_str().unwrap_or_default(), event["offset"]))
        .collect();
    let line = |column: &str, stored: Value, folded: Value| json!({"table": divergence["table"], "row": row, "column": column, "stored": stored, "folded": folded, "events": offsets});
    match (stored.as_object(), folded.as_object()) {
        (Some(stored), Some(folded)) => stored
            .iter()
            .filter(|(name, value)| folded.get(*name) != Some(value))
            .map(|(name, value)| line(name, value.clone(), folded.get(name).cloned().unwrap_or_default()))
            .collect(),
        (None, _) => vec![line("(whole row)", json!("missing"), json!("there"))],
        (_, None) => vec![line("(whole row)", json!("there"), json!("unknown to it"))],
    }
}

fn divergence_json(divergence: &Divergence, read_model: &ReadModel) -> Value {
    let columns =
        read_model.tables().iter().find(|table| table.name == divergence.table).map(|table| &table.columns[..]);
    let image = |image: &Option<RowImage>| image.as_ref().map(|image| image_json(image, columns.unwrap_or_default()));
    json!({
        "table": divergence.table,
        "tenant_id": divergence.key.tenant,
        "workspace_id": divergence.key.workspace,
        "id": divergence.key.id.0,
        "stored": image(&divergence.stored),
        "folded": image(&divergence.folded),
        "events": divergence.events.iter().map(|event| json!({
            "partition": event.at.to_string(), "offset": event.offset, "event_id": event.event_id, "event_type": event.event_type,
        })).collect::<Vec<_>>(),
    })
}

fn image_json(image: &RowImage, columns: &[Column]) -> Value {
    let mut row: Map<String, Value> =
        columns.iter().zip(&image.values).map(|(column, value)| (column.name.to_owned(), value.to_json())).collect();
    row.insert("deleted".to_owned(), json!(image.life == RowLife::Deleted));
    Value::Object(row)
}

fn failure(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Store(error) => store_failure(error),
        VerifyError::Sink(error) => Failure::new(sink_exit(error), error.to_string()),
        VerifyError::Order { .. } => Failure::new(Exit::Mismatch, error.to_string()),
        VerifyError::Fold(error) => fold_failure(error, "run the same command again; nothing was changed"),
        VerifyError::OtherVersion { .. } | VerifyError::Spool(_) => Failure::new(Exit::Failed, error.to_string()),
    }
}
