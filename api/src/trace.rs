//! What a request's headers say about the request as a whole: its trace, its deadline.

use std::time::Duration;

use annals_model::ids::CorrelationId;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::problem::{Code, Problem};
use crate::{CONTRACT_VERSION, limits};

mod head;

const CONTRACT_VERSION_HEADER: &str = "contract-version";
const REQUEST_ID: &str = "x-request-id";
const TRACE_ID: &str = "x-trace-id";
const TRACEPARENT: &str = "traceparent";
pub(crate) const REQUEST_TIMEOUT: &str = "x-request-timeout";
/// On a request that another node handed on: which node.
pub(crate) const FORWARDED: &str = "annals-forwarded-by";

/// Trace and deadline of one request.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    /// Groups what the request sets in motion, unless its body says otherwise.
    pub(crate) correlation_id: Option<CorrelationId>,
    /// How long the client waits for an answer, if it says so.
    pub(crate) timeout: Option<Duration>,
    /// Another node handed the request on: it is answered here or nowhere.
    pub(crate) forwarded: bool,
}

impl Meta {
    /// When an answer that is asked for now is no use any more.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout.unwrap_or(Duration::from_millis(limits::DEADLINE_DEFAULT_MS))
    }

    /// How long a query may wait for its consistency token.
    pub(crate) fn consistency_wait(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_millis(limits::CONSISTENCY_WAIT_DEFAULT_MS))
    }
}

/// Puts the request's trace into a span and its [`Meta`] into the extensions, and the contract's version into whatever
/// is answered.
pub(crate) async fn traced<F: Future<Output = Response>>(
    mut request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let headers = request.headers();
    let request_id = headers.get(REQUEST_ID).filter(|id| is_trace_id(id)).cloned();
    let trace_id = text(headers, TRACE_ID);
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str),
        request_id = request_id.as_ref().and_then(|id| id.to_str().ok()),
        trace_id = trace_id.or_else(|| traceparent_trace_id(headers)),
        status = tracing::field::Empty,
    );
    let method = request.method().clone();
    let announces_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    let is_post = method == Method::POST;
    let mut response = match head::check(&request).and_then(|()| timeout(headers)) {
        Ok(timeout) => {
            let forwarded = headers.contains_key(FORWARDED);
            let trace = trace_id.and_then(uuid).or_else(|| traceparent_trace_id(headers).and_then(uuid));
            let correlation_id = trace.map(CorrelationId);
            request.extensions_mut().insert(Meta { correlation_id, timeout, forwarded });
            answer(request).instrument(span.clone()).await
        }
        Err(problem) => problem.into_response(),
    };
    span.record("status", response.status().as_u16());
    if response.status().is_server_error() {
        span.in_scope(|| tracing::info!(%method, status = response.status().as_u16(), "not answered"));
    }
    let refused = !response.status().is_success() && response.extensions().get::<BodyRead>().is_none();
    if announces_body && (refused || !is_post) {
        // Nobody reads the body: what follows on this connection would be taken for it.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(id) = request_id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    marked(response)
}

/// On a refusal that came after the request's whole body was read: another request may follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRead;

/// With the contract's version.
pub(crate) fn marked(mut response: Response) -> Response {
    response.headers_mut().insert(CONTRACT_VERSION_HEADER, HeaderValue::from_static(CONTRACT_VERSION));
    response
}

fn is_trace_id(value: &HeaderValue) -> bool {
    (1..=limits::TRACE_ID_BYTES_MAX).contains(&value.len()) && value.to_str().is_ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).filter(|value| is_trace_id(value))?.to_str().ok()
}

/// A trace id that can stand in an envelope. Nil is none.
fn uuid(trace: &str) -> Option<Uuid> {
    Uuid::parse_str(trace).ok().filter(|id| !id.is_nil())
}

/// The trace id of a W3C `traceparent`; a malformed one is no trace, as its specification says.
fn traceparent_trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut parts = text(headers, TRACEPARENT)?.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, len| part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let valid = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    (valid && trace.bytes().any(|byte| byte != b'0')).then_some(trace)
}

/// `X-Request-Timeout`: seconds, `2.5`, `2s` or `1500ms`; what is above the longest deadline is cut to it.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get(REQUEST_TIMEOUT) else { return Ok(None) };
    let wrong = || {
        let detail = "send a time above 0: seconds like 2.5 or 2s, or milliseconds like 1500ms";
        Problem::at(Code::InvalidHeader, "X-Request-Timeout", detail)
    };
    let text = value.to_str().map_err(|_| wrong())?.trim();
    let (number, per_second) = match text.strip_suffix("ms") {
        Some(number) => (number, 1_000.0),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let seconds = number.parse::<f64>().map_err(|_| wrong())? / per_second;
    let cap = Duration::from_millis(limits::DEADLINE_MAX_MS);
    let timeout = Duration::from_secs_f64(seconds.min(cap.as_secs_f64()));
    if timeout.is_zero() { Err(wrong()) } else { Ok(Some(timeout)) }
}

#[cfg(test)]
mod tests;
