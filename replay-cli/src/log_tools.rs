//! `log verify` and `log stats`: the log itself, read from outside, whether a server writes it or not.

use annals_engine::log::ReadError;
use annals_engine::log::stats::stats;
use annals_engine::log::verify::{PartitionReport, VerifyReport, verify};
use annals_projectors::process::say;
use annals_schemas::CATALOGUE;
use annals_schemas::contexts::ALL;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::data_dir::{existing, read_log};
use crate::exit::{Exit, Failure};
use crate::output::cell::count;
use crate::output::{Format, Output, columns, render};
use crate::progress::Progress;

/// `log verify`.
pub(crate) async fn verify_log(global: &Global, output: Output) -> anyhow::Result<Exit> {
    let log = read_log(&existing(global)?).await?.shared();
    let progress = Progress::start("log verify", "records", None);
    let known = |schema| CATALOGUE.get(schema).is_some();
    let verified = verify(&*log, ALL, &known, &mut |at| progress.set(at.records)).await;
    match output.format() {
        Format::Table => _ = progress.finish(),
        Format::Json | Format::Jsonl => progress.clear(),
    }
    let report = verified.map_err(|error| read_failure(&error))?;
    write(output, &report)?;
    if report.is_sound() {
        return Ok(Exit::Ok);
    }
    let findings = (report.findings.len() + usize::from(report.meta.is_some())) as u64 + report.findings_left_out;
    say!("error: the log is damaged: {} finding{}", count(findings), if findings == 1 { "" } else { "s" });
    say!("  → restore it from a backup; nothing was changed");
    Ok(Exit::Mismatch)
}

fn write(output: Output, report: &VerifyReport) -> anyhow::Result<()> {
    let partitions: Vec<Value> = report.partitions.iter().map(partition).collect();
    // What lies beside the records has no partition and no offset.
    let beside = report.meta.iter().map(|cause| json!({"partition": null, "offset": null, "cause": cause}));
    let within = report
        .findings
        .iter()
        .map(|found| json!({"partition": found.at.to_string(), "offset": found.offset, "cause": found.cause}));
    let findings: Vec<Value> = beside.chain(within).collect();
    let events: u64 = report.partitions.iter().map(|partition| partition.events).sum();
    let document = json!({
        "ok": report.is_sound(),
        "events": events,
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
        if findings.is_empty() {
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
    let log = read_log(&existing(global)?).await?.shared();
    let all = stats(&*log, ALL).await.map_err(|error| read_failure(&error))?;
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

/// A log that cannot be read: damage is told apart from the environment.
pub(crate) fn read_failure(error: &ReadError) -> Failure {
    let exit = match error {
        ReadError::Unavailable(_) => Exit::Failed,
        ReadError::BeyondEnd { .. }
        | ReadError::Corrupt { .. }
        | ReadError::CorruptMeta(_)
        | ReadError::NotContiguous { .. } => Exit::Mismatch,
    };
    Failure::new(exit, error.to_string())
}
