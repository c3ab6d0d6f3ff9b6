//! What happens to a generation, whatever store it lies in.

use std::time::{SystemTime, UNIX_EPOCH};

use annals_engine::sink::{Generation, GenerationId, GenerationState, KnownProcess, ProcessReport, StoreError};
use annals_model::projection::ReadModel;
use annals_model::time::Timestamp;

/// This moment, by this machine's clock.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A generation whose build begins now.
pub(super) fn begun(model: &ReadModel, id: GenerationId, reason: &str) -> Generation {
    Generation {
        read_model: model.name().to_owned(),
        version: model.version(),
        id,
        state: GenerationState::Building,
        started_at: now(),
        finished_at: None,
        retired_at: None,
        verified_digest: None,
        mismatch: None,
        reason: Some(reason.to_owned()),
        failure: None,
    }
}

/// Refuses a generation in any other state.
pub(super) fn allow(
    generation: &Generation,
    states: &[GenerationState],
    needs: &'static str,
) -> Result<(), StoreError> {
    if states.contains(&generation.state) {
        return Ok(());
    }
    Err(StoreError::WrongState {
        read_model: generation.read_model.clone(),
        id: generation.id,
        state: generation.state,
        needs,
    })
}

/// The one that is served.
pub(super) fn live_of(generations: Vec<Generation>) -> Option<Generation> {
    generations.into_iter().find(|generation| generation.state == GenerationState::Live)
}

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
