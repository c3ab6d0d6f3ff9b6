//! What a query answers: a page of rows, and exactly which state of the log it stands for.

use std::sync::Arc;

use annals_engine::sink::{Checkpoints, GenerationId};
use annals_model::projection::{Column, OwnedValue};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// A page, and what it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The query.
    pub query: &'static str,
    /// The rows.
    pub page: Page,
    /// Whose tables were read.
    pub read_model: &'static str,
    /// In which version.
    pub version: u32,
    /// Of which generation.
    pub generation: GenerationId,
    /// The rows are those of exactly this position: both were read in one transaction.
    pub position: Checkpoints,
}

/// Some rows of an answer, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What the rows have, in order.
    pub columns: Arc<[Column]>,
    /// At most as many as the limit.
    pub rows: Vec<AnswerRow>,
    /// Fetches the rows behind these; nothing = there were no more.
    pub next_cursor: Option<String>,
}

/// One row. JSON: an object, its members in the order of the columns.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRow {
    pub(super) columns: Arc<[Column]>,
    pub(super) values: Vec<OwnedValue>,
}

impl AnswerRow {
    /// One value per column, in order.
    pub fn values(&self) -> &[OwnedValue] {
        &self.values
    }

    /// The value of a column, by name.
    pub fn get(&self, name: &str) -> Option<&OwnedValue> {
        let index = self.columns.iter().position(|column| column.name == name)?;
        self.values.get(index)
    }

    /// As a JSON value; its members are in whatever order that type keeps.
    pub fn to_json(&self) -> serde_json::Value {
        let members = self.columns.iter().zip(&self.values);
        members.map(|(column, value)| (column.name.to_owned(), value.to_json())).collect()
    }
}

impl Serialize for AnswerRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (column, value) in self.columns.iter().zip(&self.values) {
            map.serialize_entry(column.name, value)?;
        }
        map.end()
    }
}
