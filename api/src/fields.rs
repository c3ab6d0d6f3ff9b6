//! Reading a JSON object field by field: each field is taken once, and what is left at the end was unknown.

use annals_model::ids::{ClientRequestId, ClientRequestIdError};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::problem::{Code, Problem};

/// The fields that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Of a document that must be an object.
    pub(crate) fn of(document: Value) -> Result<Self, Problem> {
        match document {
            Value::Object(left) => Ok(Self { left, known: Vec::new() }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(Problem::new(Code::MalformedJson, "send a JSON object"))
            }
        }
    }

    /// A field's value; null is as good as absent.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// A text of at most `bytes_max` bytes.
    pub(crate) fn text(&mut self, name: &'static str, bytes_max: usize) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= bytes_max => Ok(Some(text)),
            Some(Value::String(text)) => {
                Err(wrong(name, format!("has {} bytes; send at most {bytes_max}", text.len())))
            }
            Some(_) => Err(wrong(name, "must be a string")),
        }
    }

    /// A UUID that is not nil.
    pub(crate) fn uuid(&mut self, name: &'static str) -> Result<Option<Uuid>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => uuid(&text).map(Some).map_err(|message| wrong(name, message)),
            Some(_) => Err(wrong(name, NO_UUID)),
        }
    }

    /// An integer from 0.
    pub(crate) fn count(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(name, "must be an integer from 0")),
        }
    }

    /// An object, kept as it is.
    pub(crate) fn object(&mut self, name: &'static str) -> Result<Map<String, Value>, Problem> {
        match self.take(name) {
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(wrong(name, "must be an object")),
            None => Err(wrong(name, "is missing; send an object, {} for a command without fields")),
        }
    }

    /// Refuses what nobody has taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::at(
                Code::InvalidField,
                name.as_str(),
                format!("unknown field `{name}`; there are {}", self.known.join(", ")),
            )),
        }
    }
}

const NO_UUID: &str = "must be a uuid like 0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f";

/// A UUID in its usual form of 36 characters, and not nil: nil stands for the tenant itself.
pub(crate) fn uuid(text: &str) -> Result<Uuid, &'static str> {
    let id = (text.len() == 36).then(|| Uuid::parse_str(text).ok()).flatten().ok_or(NO_UUID)?;
    if id.is_nil() { Err("must not be the nil uuid") } else { Ok(id) }
}

/// A field that is wrong.
pub(crate) fn wrong(name: &str, message: impl std::fmt::Display) -> Problem {
    Problem::at(Code::InvalidField, name, format!("{name} {message}"))
}

/// A client request id, from the field or from the header; both must agree.
pub(crate) fn client_request_id(
    field: Option<String>,
    header: Option<ClientRequestId>,
) -> Result<ClientRequestId, Problem> {
    let field = field.map(|text| ClientRequestId::new(&text)).transpose().map_err(|error: ClientRequestIdError| {
        Problem::at(Code::InvalidField, "client_request_id", error.to_string())
    })?;
    match (field, header) {
        (Some(field), Some(header)) if field != header => Err(Problem::at(
            Code::InvalidHeader,
            "Idempotency-Key",
            "Idempotency-Key and client_request_id differ; send one of them, or the same in both",
        )),
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => Err(wrong(
            "client_request_id",
            "is missing; name the command, with a new uuid for instance, so that a retry is answered and not repeated",
        )),
    }
}
