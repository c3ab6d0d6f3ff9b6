//! Golden histories: recorded bytes and the states behind them. When `evolve` (or an upcaster) gives another state, the
//! aggregate's `FOLD_VERSION` must move, or states kept from the older fold would be taken for current ones.
//!
//! `ANNALS_GOLDEN=record cargo test -p annals-aggregates golden` records histories with the events, and revisions of them, that have none yet,
//! and pins the states of aggregates whose fold version moved. Recorded bytes are never written again.

use annals_aggregates::contexts;
use annals_aggregates::testing::golden::{Case, Golden, GoldenEvent};
use annals_aggregates::testing::samples;
use annals_model::context::{BoundedContext, ErasedAggregate};
use serde_json::Value;

/// Simulations that are searched for an event before recording gives up.
const SAMPLES_MAX: usize = 1_000;
/// Longest history that is recorded, events: short enough to be read.
const HISTORY_EVENTS_MAX: usize = 8;

/// Why a golden history and the build do not agree.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Disagreement {
    #[error("evolve gives {now} where fold version {version} gave {pinned}; raise FOLD_VERSION, then record")]
    FoldVersionForgotten { version: u32, pinned: Value, now: Value },
    #[error("fold version is {now}, the recorded one {recorded}; record the state with ANNALS_GOLDEN=record")]
    NotRecorded { recorded: u32, now: u32 },
}

fn agrees(golden: &Golden, kind: &dyn ErasedAggregate) -> Result<(), Disagreement> {
    let (recorded, version) = (golden.fold_version, kind.fold_version());
    if recorded != version {
        return Err(Disagreement::NotRecorded { recorded, now: version });
    }
    for case in &golden.cases {
        let (now, pinned) = (folded(kind, &case.history), case.state.clone());
        if now != pinned {
            return Err(Disagreement::FoldVersionForgotten { version, pinned, now });
        }
    }
    Ok(())
}

/// Adds histories with the events, in their newest revisions, that have none yet.
fn complete(golden: &mut Golden, context: &BoundedContext, kind: &dyn ErasedAggregate) {
    let missing = |golden: &Golden| kind.event_kinds().iter().any(|event| !golden.has(event.schema));
    for simulation in samples(context).take(SAMPLES_MAX) {
        if !missing(golden) {
            return;
        }
        for ((aggregate_type, _), history) in simulation.histories {
            let fits = aggregate_type == kind.aggregate_type() && history.len() <= HISTORY_EVENTS_MAX;
            if fits && history.iter().any(|event| !golden.has(event.schema)) {
                let history: Vec<_> = history.into_iter().map(GoldenEvent::from).collect();
                golden.cases.push(Case { state: folded(kind, &history), history });
            }
        }
    }
}

fn folded(kind: &dyn ErasedAggregate, history: &[GoldenEvent]) -> Value {
    let mut state = kind.initial();
    for event in history {
        kind.evolve(&mut state, event.schema(), &event.payload()).unwrap();
    }
    state.to_json()
}

#[test]
fn golden_histories_of_every_event_fold_to_the_recorded_states() {
    let recording = std::env::var("ANNALS_GOLDEN").is_ok_and(|wish| wish == "record");
    for context in contexts() {
        for kind in context.aggregates() {
            let name = format!("{}.{}", context.id(), kind.aggregate_type());
            if recording {
                record(&name, &context, kind);
            }
            let golden = Golden::read(&name).unwrap_or_else(|| panic!("{name}.json is missing; record it"));
            agrees(&golden, kind).unwrap_or_else(|disagreement| panic!("{}: {disagreement}", kind.aggregate_type()));
            for event in kind.event_kinds() {
                assert!(golden.has(event.schema), "{} has no golden history; record one", event.event_type);
            }
        }
    }
}

#[test]
fn a_changed_fold_is_caught_whether_its_version_moved_or_not() {
    let context = annals_aggregates::portfolio::context();
    let kind = context.aggregate("project").unwrap();
    // Not the file: it may be recorded at this very moment.
    let mut golden = Golden { fold_version: kind.fold_version(), cases: vec![] };
    complete(&mut golden, &context, kind);
    assert_eq!(agrees(&golden, kind), Ok(()));

    let mut other_state = golden.clone();
    other_state.cases[0].state["name"] = "another".into();
    assert!(matches!(agrees(&other_state, kind), Err(Disagreement::FoldVersionForgotten { .. })));

    let (recorded, now) = (kind.fold_version() + 1, kind.fold_version());
    let other_version = Golden { fold_version: recorded, ..golden };
    assert_eq!(agrees(&other_version, kind), Err(Disagreement::NotRecorded { recorded, now }));
}

fn record(name: &str, context: &BoundedContext, kind: &dyn ErasedAggregate) {
    let mut golden = Golden::read(name).unwrap_or_else(|| Golden { fold_version: kind.fold_version(), cases: vec![] });
    if golden.fold_version != kind.fold_version() {
        golden.fold_version = kind.fold_version();
        golden.cases.iter_mut().for_each(|case| case.state = folded(kind, &case.history));
    }
    complete(&mut golden, context, kind);
    std::fs::write(Golden::path(name), serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
}
