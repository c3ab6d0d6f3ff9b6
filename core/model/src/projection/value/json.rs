//! JSON as a column: one text per value, so that equal values have equal bytes in every store.

use serde_json::Value;

use crate::command_json;

/// A JSON value in its canonical form (RFC 8785: members sorted, no spaces, numbers as doubles).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Json(Box<str>);

/// Not JSON, or deeper than 127 levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON")]
pub struct NotJson;

impl Json {
    /// Of a value.
    pub fn new(value: &Value) -> Self {
        Self(command_json::canonical_text(value).into())
    }

    /// `null`: JSON's own, which is no null of the column.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// Of any text that is JSON.
    pub fn parse(text: &str) -> Result<Self, NotJson> {
        serde_json::from_str(text).map(|value| Self::new(&value)).map_err(|_| NotJson)
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).expect("it was made of a value")
    }
}
