//! Golden histories: recorded bytes and the states behind them. When `evolve` (or an upcaster) gives another state, the
//! aggregate's `FOLD_VERSION` must move, or states kept from the older fold would be taken for current ones.
//!
//! `ANNALS_GOLDEN=record cargo test -p annals-aggregates golden` records histories with the events that have none yet,
//! and pins the states of aggregates whose fold version moved. Recorded bytes are never written again.

use std::path::{Path, PathBuf};

use annals_aggregates::contexts;
use annals_model::context::{BoundedContext, ErasedAggregate};
use annals_model::envelope::SchemaId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::simulation::Written;
use crate::steps::samples;

/// Simulations that are searched for an event before recording gives up.
const SAMPLES_MAX: usize = 1_000;
/// Longest history that is recorded, events: short enough to be read.
const HISTORY_EVENTS_MAX: usize = 8;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Golden {
    fold_version: u32,
    cases: Vec<Case>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    history: Vec<GoldenEvent>,
    state: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct GoldenEvent {
    event: String,
    schema: u32,
    payload_hex: String,
}

/// Why a golden history and the build do not agree.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Disagreement {
    #[error("evolve gives {now} where fold version {version} gave {pinned}; raise FOLD_VERSION, then record")]
    FoldVersionForgotten { version: u32, pinned: Value, now: Value },
    #[error("fold version is {now}, the recorded one {recorded}; record the state with ANNALS_GOLDEN=record")]
    NotRecorded { recorded: u32, now: u32 },
}

impl Golden {
    fn agrees(&self, kind: &dyn ErasedAggregate) -> Result<(), Disagreement> {
        let (recorded, version) = (self.fold_version, kind.fold_version());
        if recorded != version {
            return Err(Disagreement::NotRecorded { recorded, now: version });
        }
        for case in &self.cases {
            let (now, pinned) = (folded(kind, &case.history), case.state.clone());
            if now != pinned {
                return Err(Disagreement::FoldVersionForgotten { version, pinned, now });
            }
        }
        Ok(())
    }

    /// Adds histories with the events that have none yet.
    fn complete(&mut self, context: &BoundedContext, kind: &dyn ErasedAggregate) {
        let missing = |golden: &Self| kind.event_kinds().iter().any(|event| !golden.has(event.event_type));
        for simulation in samples(context).take(SAMPLES_MAX) {
            if !missing(self) {
                return;
            }
            for ((aggregate_type, _), history) in simulation.histories {
                let fits = aggregate_type == kind.aggregate_type() && history.len() <= HISTORY_EVENTS_MAX;
                if fits && history.iter().any(|event| !self.has(event.event_type)) {
                    let history: Vec<_> = history.into_iter().map(GoldenEvent::from).collect();
                    self.cases.push(Case { state: folded(kind, &history), history });
                }
            }
        }
    }

    fn has(&self, event_type: &str) -> bool {
        self.cases.iter().flat_map(|case| &case.history).any(|event| event.event == event_type)
    }
}

fn folded(kind: &dyn ErasedAggregate, history: &[GoldenEvent]) -> Value {
    let mut state = kind.initial();
    for event in history {
        kind.evolve(&mut state, SchemaId(event.schema), &unhex(&event.payload_hex)).unwrap();
    }
    state.to_json()
}

#[test]
fn golden_histories_of_every_event_fold_to_the_recorded_states() {
    let recording = std::env::var("ANNALS_GOLDEN").is_ok_and(|wish| wish == "record");
    for context in contexts() {
        for kind in context.aggregates() {
            let path = path(&context, kind);
            if recording {
                record(&path, &context, kind);
            }
            let golden = read(&path).unwrap_or_else(|| panic!("{} is missing; record it", path.display()));
            golden.agrees(kind).unwrap_or_else(|disagreement| panic!("{}: {disagreement}", kind.aggregate_type()));
            for event in kind.event_kinds() {
                assert!(golden.has(event.event_type), "{} has no golden history; record one", event.event_type);
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
    golden.complete(&context, kind);
    assert_eq!(golden.agrees(kind), Ok(()));

    let mut other_state = golden.clone();
    other_state.cases[0].state["name"] = "another".into();
    assert!(matches!(other_state.agrees(kind), Err(Disagreement::FoldVersionForgotten { .. })));

    let (recorded, now) = (kind.fold_version() + 1, kind.fold_version());
    let other_version = Golden { fold_version: recorded, ..golden };
    assert_eq!(other_version.agrees(kind), Err(Disagreement::NotRecorded { recorded, now }));
}

fn path(context: &BoundedContext, kind: &dyn ErasedAggregate) -> PathBuf {
    let name = format!("{}.{}.json", context.id(), kind.aggregate_type());
    [env!("CARGO_MANIFEST_DIR"), "golden", &name].iter().collect()
}

fn read(path: &Path) -> Option<Golden> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

fn record(path: &Path, context: &BoundedContext, kind: &dyn ErasedAggregate) {
    let mut golden = read(path).unwrap_or_else(|| Golden { fold_version: kind.fold_version(), cases: vec![] });
    if golden.fold_version != kind.fold_version() {
        golden.fold_version = kind.fold_version();
        golden.cases.iter_mut().for_each(|case| case.state = folded(kind, &case.history));
    }
    golden.complete(context, kind);
    std::fs::write(path, serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
}

impl From<Written> for GoldenEvent {
    fn from(event: Written) -> Self {
        let payload_hex = event.payload.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { event: event.event_type.to_owned(), schema: event.schema.0, payload_hex }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
