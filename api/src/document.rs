//! Answers that are JSON documents.

use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::problem::{Code, Problem};
use crate::text_response::respond;

/// An answer with a line end behind it: whoever reads it on a terminal finds the prompt on a line of its own.
#[derive(Debug)]
pub(crate) struct Document<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Document<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => respond("application/json", text),
            // Only a map whose keys are no texts cannot be written; there is none.
            Err(error) => Problem::new(Code::Internal, error.to_string()).into_response(),
        }
    }
}
