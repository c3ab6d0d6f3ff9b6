//! The golden histories: recorded bytes of every event of an aggregate, and the states behind them.

use std::path::{Path, PathBuf};

use annals_model::envelope::SchemaId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Written;

/// Those of one aggregate: `golden/<context>.<aggregate>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Golden {
    /// The fold that made the states.
    pub fold_version: u32,
    /// New ones go to the end: what others have recorded stands on those before.
    pub cases: Vec<Case>,
}

/// One history, and the state behind it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// The events, in order.
    pub history: Vec<GoldenEvent>,
    /// The state, as clients see it.
    pub state: Value,
}

/// An event as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoldenEvent {
    event: String,
    schema: u32,
    payload_hex: String,
}

impl Golden {
    /// Where those of an aggregate lie, by its full name: `portfolio.application`.
    pub fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.json"))
    }

    /// Those that are recorded; nothing where none are.
    pub fn read(name: &str) -> Option<Self> {
        let text = std::fs::read_to_string(Self::path(name)).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// True if there is an event that was written under this schema.
    pub fn has(&self, schema: SchemaId) -> bool {
        self.cases.iter().flat_map(|case| &case.history).any(|event| event.schema() == schema)
    }
}

impl GoldenEvent {
    /// What its payload is written under.
    pub fn schema(&self) -> SchemaId {
        SchemaId(self.schema)
    }

    /// Its bytes.
    pub fn payload(&self) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&self.payload_hex[at..at + 2], 16).unwrap();
        (0..self.payload_hex.len()).step_by(2).map(byte).collect()
    }
}

impl From<Written> for GoldenEvent {
    fn from(event: Written) -> Self {
        let payload_hex = event.payload.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { event: event.event_type.to_owned(), schema: event.schema.0, payload_hex }
    }
}
