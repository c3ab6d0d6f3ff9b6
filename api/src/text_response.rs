//! Answers that are text, whatever form of JSON it has.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

/// A text with a line end behind it.
pub(crate) fn respond(content_type: &'static str, mut text: Vec<u8>) -> Response {
    text.push(b'\n');
    ([(CONTENT_TYPE, HeaderValue::from_static(content_type))], text).into_response()
}
