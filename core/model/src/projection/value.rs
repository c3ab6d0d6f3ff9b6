//! What columns hold. A new type is a variant here, its bytes in [`crate::canonical`] and in cursors, and a line in the codec
//! of each sink; one with a parameter, as the dimension of a vector, carries it in its [`ColumnType`].

mod float;
mod json;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

pub use self::float::{Float, NotFinite};
pub use self::json::{Json, NotJson};
use crate::time::Timestamp;

/// One column's value, borrowed from its row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// An id.
    Uuid(Uuid),
    /// An instant.
    Timestamp(Timestamp),
    /// A number.
    Float(Float),
    /// The text of a [`Json`].
    Json(&'a str),
}

impl Value<'_> {
    /// The owned form.
    pub fn into_owned(self) -> OwnedValue {
        match self {
            Self::Null => OwnedValue::Null,
            Self::Bool(value) => OwnedValue::Bool(value),
            Self::Int(value) => OwnedValue::Int(value),
            Self::Text(value) => OwnedValue::Text(value.into()),
            Self::Uuid(value) => OwnedValue::Uuid(value),
            Self::Timestamp(value) => OwnedValue::Timestamp(value),
            Self::Float(value) => OwnedValue::Float(value),
            Self::Json(text) => OwnedValue::Json(text.into()),
        }
    }

    /// The type that this value has; nothing for null, which fits every nullable column.
    pub const fn column_type(&self) -> Option<ColumnType> {
        match self {
            Self::Null => None,
            Self::Bool(_) => Some(ColumnType::Bool),
            Self::Int(_) => Some(ColumnType::Int),
            Self::Text(_) => Some(ColumnType::Text),
            Self::Uuid(_) => Some(ColumnType::Uuid),
            Self::Timestamp(_) => Some(ColumnType::Timestamp),
            Self::Float(_) => Some(ColumnType::Float),
            Self::Json(_) => Some(ColumnType::Json),
        }
    }
}

/// Owned form of [`Value`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OwnedValue {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(Box<str>),
    /// An id.
    Uuid(Uuid),
    /// An instant.
    Timestamp(Timestamp),
    /// A number.
    Float(Float),
    /// The text of a [`Json`].
    Json(Box<str>),
}

impl OwnedValue {
    /// The borrowed form.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Text(value) => Value::Text(value),
            Self::Uuid(value) => Value::Uuid(*value),
            Self::Timestamp(value) => Value::Timestamp(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Json(text) => Value::Json(text),
        }
    }

    /// As answers show it: ids as text, instants in RFC 3339, JSON as itself.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a scalar, or JSON that was read as such")
    }
}

impl Serialize for OwnedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Uuid(value) => value.serialize(serializer),
            Self::Timestamp(value) => value.serialize(serializer),
            Self::Float(value) => serializer.serialize_f64(value.get()),
            Self::Json(text) => {
                serde_json::from_str::<&RawValue>(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
            }
        }
    }
}

/// What a column holds; sinks map it to a type of theirs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ColumnType {
    /// `boolean`.
    Bool,
    /// `bigint`.
    Int,
    /// `text`.
    Text,
    /// `uuid`.
    Uuid,
    /// `timestamptz`, microseconds.
    Timestamp,
    /// `double precision`, finite.
    Float,
    /// `json`, in its canonical form.
    Json,
}

impl ColumnType {
    /// What the catalogue calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Timestamp => "timestamp",
            Self::Float => "float",
            Self::Json => "json",
        }
    }
}

#[cfg(test)]
mod tests;
