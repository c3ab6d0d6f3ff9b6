//! The answer to an accepted command.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// What the server recorded, now or at an earlier attempt.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Answer {
    /// The operation; look it up later under this id.
    pub operation_id: Uuid,
    /// True if it had been accepted before: nothing was repeated.
    pub replayed: bool,
    /// The aggregate behind the command.
    pub aggregate: AggregateRef,
    /// What was appended; empty if there was nothing to do.
    pub events: Vec<EventRef>,
    /// Covers the command's events.
    pub consistency_token: String,
    /// All of it, as the server sent it.
    #[serde(skip)]
    pub document: Value,
}

/// An aggregate and its version.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AggregateRef {
    /// Its id.
    pub id: Uuid,
    /// Its version behind the command.
    pub version: u64,
}

/// One event of an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EventRef {
    /// The event.
    pub event_id: Uuid,
    /// Its wire name.
    pub event_type: String,
}

impl Answer {
    /// Reads an answer; the error says what is missing.
    pub fn read(document: Value) -> Result<Self, String> {
        let mut answer = Self::deserialize(&document).map_err(|error| error.to_string())?;
        answer.document = document;
        Ok(answer)
    }
}
