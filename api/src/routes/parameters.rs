//! The query string: each parameter once, and none that nobody knows.

use annals_model::ids::WorkspaceId;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::fields::uuid;
use crate::problem::{Code, Problem};

/// Parameters that nobody has taken yet, in the order in which they were sent.
#[derive(Debug)]
pub(super) struct Parameters {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // The decoder below puts U+FFFD where it finds no UTF-8: a question that nobody asked.
        let query = parts.uri.query().unwrap_or_default();
        if percent_decode_str(query).decode_utf8().is_err() {
            let detail = "the parameters are not UTF-8 once decoded; percent-encode the bytes of UTF-8";
            return Err(Problem::at(Code::InvalidParameter, "query", detail));
        }
        let Query(left) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|error| {
            let detail = format!("the parameters cannot be decoded: {}", error.body_text());
            Problem::at(Code::InvalidParameter, "query", detail)
        })?;
        for (index, (name, value)) in left.iter().enumerate() {
            if value.contains('\0') || name.contains('\0') {
                return Err(wrong(name, "contains a NUL character; remove it"));
            }
            if left[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(wrong(name, "is there more than once; send it once"));
            }
        }
        Ok(Self { left, known: Vec::new() })
    }
}

/// A parameter that is wrong.
pub(super) fn wrong(name: &str, message: impl std::fmt::Display) -> Problem {
    Problem::at(Code::InvalidParameter, name, format!("{name} {message}"))
}

impl Parameters {
    /// A parameter's text.
    pub(super) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let index = self.left.iter().position(|(other, _)| other == name)?;
        Some(self.left.remove(index).1)
    }

    /// `workspace_id`.
    pub(super) fn workspace_id(&mut self) -> Result<Option<WorkspaceId>, Problem> {
        let Some(text) = self.take("workspace_id") else { return Ok(None) };
        uuid(&text).map(|id| Some(WorkspaceId(id))).map_err(|message| wrong("workspace_id", message))
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && *number <= i64::MAX as u64);
        number.map(Some).ok_or_else(|| wrong(name, "must be a whole number from 0"))
    }

    /// Refuses what nobody has taken.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) if self.known.is_empty() => Err(wrong(name, "is unknown; there are no parameters here")),
            Some((name, _)) => Err(wrong(name, format!("is unknown; there are {}", self.known.join(", ")))),
        }
    }

    /// What nobody has taken.
    pub(super) fn into_rest(self) -> Vec<(String, String)> {
        self.left
    }
}
