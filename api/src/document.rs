//! Answers that are JSON documents.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::problem::{Code, Problem};

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

/// The same in another form of JSON.
pub(crate) fn respond(content_type: &'static str, mut text: Vec<u8>) -> Response {
    text.push(b'\n');
    ([(CONTENT_TYPE, HeaderValue::from_static(content_type))], text).into_response()
}
