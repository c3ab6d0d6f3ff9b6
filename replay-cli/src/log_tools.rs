//! `log verify`, `log stats` and `log backup`: the log itself, read from outside, whether a server writes it or not.

use std::collections::BTreeSet;

use annals_api::data_dir::DataDir;
use annals_engine::log::EventLog;
use annals_engine::log::stats::stats;
use annals_engine::log::verify::{PartitionReport, VerifyReport, verify};
use annals_engine::sink::false_checkpoint;
use annals_model::application::Application;
use annals_model::envelope::SchemaId;
use annals_model::ids::ContextId;
use annals_projectors::deployment::{Deployment, LogSettings, ReadModelsSettings};
use annals_projectors::process::say;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cli::Global;
use crate::data_dir::{existing, read_log, read_models};
use crate::exit::Exit;
use crate::failure::{read_failure, store_failure};
use crate::output::cell::count;
use crate::output::{Format, Output, columns, render};
use crate::progress::Progress;

pub(crate) mod backup;

/// `log verify`.
pub(crate) async fn verify_log(global: &Global, output: Output) -> anyhow::Result<Exit> {
    let deployment = existing(global)?;
    let log = read_log(global, &deployment).await?.shared();
    let progress = Progress::start("log verify", "records", None);
    let (contexts, known) = known(&global.application);
    let verified = verify(&*log, &contexts, &known, &mut |at| progress.set(at.records)).await;
    match output.format() {
        Format::Table => _ = progress.finish(),
        Format::Json | Format::Jsonl => progress.clear(),
    }
    let report = verified.map_err(|error| read_failure(&error))?;
    let missing = missing(global, &deployment, &*log, &report).await?;
    write(output, &report, &missing)?;
    if report.is_sound() && missing.is_empty() {
        return Ok(Exit::Ok);
    }
    if report.is_sound() {
        say!("error: the log is not whole: its newest commits are missing");
        say!(
            "  → put the `log.db-wal` of the same moment beside it; else docs/operations.md, *The log is shorter than it was*"
        );
        return Ok(Exit::Mismatch);
    }
    let findings = (report.findings.len() + usize::from(report.meta.is_some())) as u64 + report.findings_left_out;
    say!("error: the log is damaged: {} finding{}", count(findings), if findings == 1 { "" } else { "s" });
    say!("  → restore it from a backup; nothing was changed");
    Ok(Exit::Mismatch)
}

/// What an application knows of its log: whose events lie in it, and under which schemas.
pub(crate) fn known(application: &Application) -> (Vec<ContextId>, impl Fn(SchemaId) -> bool + use<>) {
    let schemas = application.schemas;
    (application.context_ids(), move |schema| schemas.get(schema).is_some())
}

/// Nobody has ever claimed it: there was no server, or this is not all of the log.
fn is_empty(report: &VerifyReport) -> bool {
    report.partitions.iter().all(|partition| partition.events == 0 && partition.claims == 0)
}

/// What the directory knows of the log that the log itself does not: a history that ends too early is consistent, and
/// shorter.
async fn missing(
    global: &Global,
    deployment: &Deployment,
    log: &dyn EventLog,
    report: &VerifyReport,
) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    if !matches!(deployment.log, LogSettings::Sqlite { .. }) {
        return Ok(missing);
    }
    let dir = DataDir::at(&deployment.data);
    if is_empty(report) && dir.was_served(log.id()) {
        missing.push(
            "a server has served this log, and it holds not even a claim: its write-ahead log is gone".to_owned(),
        );
    }
    // Whoever only looks makes no registry.
    let sqlite = matches!(deployment.read_models, ReadModelsSettings::Sqlite);
    if !sqlite || !deployment.data.join("read-models/registry.db").exists() {
        return Ok(missing);
    }
    let store = match read_models(global, deployment, log.id()).await {
        Ok(store) => store,
        Err(failure) => {
            say!("read models were not asked how far they have come: {failure}");
            return Ok(missing);
        }
    };
    let names: BTreeSet<&str> = store.read_models().iter().map(|model| model.name()).collect();
    for name in names {
        for generation in store.list(name).await.map_err(|error| store_failure(&error))? {
            // What cannot be read says nothing; `status` says why.
            let Ok(reached) = store.probe(&generation).await else { continue };
            for (at, checkpoint) in reached.iter() {
                // Asked for behind the checkpoint, which moves on with it.
                let end = log.end(at).await.map_err(|error| read_failure(&error))?;
                if checkpoint.offset <= end {
                    continue;
                }
                let judged = false_checkpoint(log, at, checkpoint).await.map_err(|error| read_failure(&error))?;
                if let Some(cause) = judged {
                    say!("{generation} says nothing of the log: {cause}");
                } else {
                    missing.push(format!(
                        "{generation} has seen {at} up to offset {}, the log ends at {end}",
                        checkpoint.offset
                    ));
                }
            }
        }
    }
    Ok(missing)
}

/// One digest over those of all partitions, in order.
fn digest_of_all(report: &VerifyReport) -> String {
    let mut all = Sha256::new();
    report.partitions.iter().for_each(|partition| all.update(partition.digest));
    all.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(output: Output, report: &VerifyReport, missing: &[String]) -> anyhow::Result<()> {
    let partitions: Vec<Value> = report.partitions.iter().map(partition).collect();
    // What lies beside the records has no partition and no offset.
    let beside =
        report.meta.iter().chain(missing).map(|cause| json!({"partition": null, "offset": null, "cause": cause}));
    let within = report
        .findings
        .iter()
        .map(|found| json!({"partition": found.at.to_string(), "offset": found.offset, "cause": found.cause}));
    let findings: Vec<Value> = beside.chain(within).collect();
    let events: u64 = report.partitions.iter().map(|partition| partition.events).sum();
    let document = json!({
        "ok": report.is_sound() && missing.is_empty(),
        "empty": is_empty(report),
        "events": events,
        "digest": digest_of_all(report),
        "partitions": partitions,
        "findings": findings,
        "findings_left_out": report.findings_left_out,
    });
    output.document(&document, || {
        let mut text = render(
            &partitions,
            &columns(&[
                ("partition", "/partition"),
                ("events", "/events"),
                ("commands", "/commits"),
                ("aggregates", "/aggregates"),
                ("claims", "/claims"),
                ("bytes", "/bytes"),
                ("digest", "/short_digest"),
            ]),
        );
        if findings.is_empty() && is_empty(report) {
            text.push_str(
                "\n\nthe log is empty: no server has ever claimed it, or this is a copy without its log.db-wal",
            );
        } else if findings.is_empty() {
            text.push_str(&format!("\n\nthe log is whole: {} events", count(events)));
        } else {
            text.push_str("\n\n");
            text.push_str(&render(
                &findings,
                &columns(&[("partition", "/partition"), ("offset", "/offset"), ("what is wrong", "/cause")]),
            ));
        }
        text
    })?;
    Ok(())
}

fn partition(report: &PartitionReport) -> Value {
    let digest: String = report.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "partition": report.at.to_string(),
        "end": report.end,
        "ordinal": report.ordinal,
        "events": report.events,
        "commits": report.commits,
        "claims": report.claims,
        "aggregates": report.aggregates,
        "bytes": report.bytes,
        "short_digest": digest.get(..16),
        "digest": digest,
    })
}

/// `log stats`.
pub(crate) async fn log_stats(global: &Global, output: Output) -> anyhow::Result<Exit> {
    let log = read_log(global, &existing(global)?).await?.shared();
    let all = stats(&*log, &global.application.context_ids()).await.map_err(|error| read_failure(&error))?;
    let partitions: Vec<Value> = all
        .iter()
        .map(|stats| {
            json!({
                "partition": stats.at.to_string(), "context": stats.at.context.name, "end": stats.end,
                "events": stats.events, "commits": stats.commits, "claims": stats.claims, "bytes": stats.bytes,
                "first": stats.emitted.map(|(first, _)| first.to_string()), "last": stats.emitted.map(|(_, last)| last.to_string()),
            })
        })
        .collect();
    let mut types = std::collections::BTreeMap::<(&str, &str, i32), u64>::new();
    for stats in &all {
        for (name, versions) in &stats.types {
            for (version, number) in versions {
                // An engine record is no event of the domain.
                if !name.starts_with('$') {
                    *types.entry((stats.at.context.name, name, *version)).or_default() += number;
                }
            }
        }
    }
    let events: Vec<Value> = types
        .iter()
        .map(|((context, name, version), number)| json!({"context": context, "type": name, "version": version, "events": number}))
        .collect();
    if output.format() == Format::Jsonl {
        output.records(&events, &[])?;
        return Ok(Exit::Ok);
    }
    output.document(&json!({"partitions": partitions, "events": events}), || {
        let by_type =
            columns(&[("context", "/context"), ("event", "/type"), ("version", "/version"), ("events", "/events")]);
        let by_partition = columns(&[
            ("partition", "/partition"),
            ("events", "/events"),
            ("commands", "/commits"),
            ("bytes", "/bytes"),
            ("first", "/first"),
            ("last", "/last"),
        ]);
        format!("{}\n\n{}", render(&events, &by_type), render(&partitions, &by_partition))
    })?;
    Ok(Exit::Ok)
}
