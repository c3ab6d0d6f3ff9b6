//! What processes tell of themselves, as every store keeps it.

use annals_engine::sink::{KnownProcess, ProcessReport};

/// What a process tells of itself, as it is stored.
pub(super) fn report_text(process: &ProcessReport) -> String {
    // Texts and numbers under names: always JSON.
    serde_json::to_string(process).unwrap_or_default()
}

/// Processes from stored reports and how long ago they were heard of, milliseconds: the longest known first. What a newer
/// build wrote otherwise is passed over.
pub(super) fn known_processes(rows: Vec<(String, i64)>) -> Vec<KnownProcess> {
    let known = |(report, ago): (String, i64)| {
        let report = serde_json::from_str(&report).ok()?;
        Some(KnownProcess { report, seen_ms_ago: ago.max(0).unsigned_abs() })
    };
    let mut all: Vec<KnownProcess> = rows.into_iter().filter_map(known).collect();
    all.sort_by_key(|process| process.report.started_at);
    all
}
