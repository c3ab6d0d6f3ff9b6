//! The answer to an accepted command.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// What the server recorded, now or at an earlier attempt.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Answer {
    /// The operation; look it up later under this id.
    pub(crate) operation_id: Uuid,
    /// True if it had been accepted before: nothing was repeated.
    pub(crate) replayed: bool,
    /// The aggregate behind the command.
    pub(crate) aggregate: AggregateRef,
    /// What was appended; empty if there was nothing to do.
    pub(crate) events: Vec<EventRef>,
    /// Covers the command's events.
    pub(crate) consistency_token: String,
    /// All of it, as the server sent it.
    #[serde(skip)]
    pub(crate) document: Value,
}

/// An aggregate and its version.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct AggregateRef {
    /// Its id.
    pub(crate) id: Uuid,
    /// Its version behind the command.
    pub(crate) version: u64,
}

/// One event of an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct EventRef {
    /// The event.
    pub(crate) event_id: Uuid,
    /// Its wire name.
    pub(crate) event_type: String,
}

impl Answer {
    /// Reads an answer; the error says what is missing.
    pub(crate) fn read(document: Value) -> Result<Self, String> {
        let mut answer = Self::deserialize(&document).map_err(|error| error.to_string())?;
        answer.document = document;
        Ok(answer)
    }
}
