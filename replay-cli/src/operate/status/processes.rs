//! The processes of a deployment, as they tell of themselves.

use annals_engine::sink::KnownProcess;
use serde_json::{Value, json};

use crate::output::cell::short_id;
use crate::output::{self, columns};

/// A process in a word or two.
pub(super) fn name(process: &KnownProcess) -> String {
    format!("{} {}", process.report.kind.name(), short_id(&process.report.id))
}

/// Those that are known, and what became of them.
pub(super) fn lines(processes: &[KnownProcess]) -> Vec<Value> {
    let line = |process: &KnownProcess| {
        let KnownProcess { report, seen_ms_ago } = process;
        json!({
            "kind": report.kind, "id": report.id, "address": report.address, "host": report.host, "pid": report.pid,
            "build": report.build, "started_at": report.started_at.to_string(), "alive": process.is_alive(),
            "seen_seconds_ago": seen_ms_ago / 1_000, "runs": report.runs, "owns": report.owns,
            "troubles": report.troubles,
        })
    };
    processes.iter().map(line).collect()
}

/// The same for people.
pub(super) fn table(lines: &[Value], width: Option<u16>) -> String {
    let nothing = |value: &mut Value| {
        if value.as_array().is_some_and(Vec::is_empty) {
            *value = Value::Null;
        }
    };
    let shown: Vec<Value> = lines
        .iter()
        .map(|line| {
            let mut line = line.clone();
            let seen = if line["alive"] == true { "" } else { ": lost" };
            line["seen"] = json!(format!("{} s ago{seen}", line["seen_seconds_ago"]));
            nothing(&mut line["runs"]);
            nothing(&mut line["owns"]);
            line
        })
        .collect();
    let pairs = [
        ("process", "/kind"),
        ("id", "/id"),
        ("address", "/address"),
        ("host", "/host"),
        ("pid", "/pid"),
        ("since", "/started_at"),
        ("seen", "/seen"),
        ("keeps", "/runs"),
        ("owns", "/owns"),
    ];
    let shown_columns = columns(&pairs).into_iter().map(|column| match column.heading.as_str() {
        "host" | "pid" => column.optional(),
        _ => column,
    });
    output::table(&shown, &shown_columns.collect::<Vec<_>>(), width)
}
