//! What a client is told about an accepted command.

use annals_engine::command::{AnsweredEvent, CommandAnswer};
use annals_engine::log::EventLog;
use annals_model::ids::{AggregateId, EventId, OperationId, Partition, WorkspaceId};
use annals_model::position::{RecordOffset, Sequence};
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::CONTRACT_VERSION;
use crate::consistency::CONSISTENCY_TOKEN;
use crate::document::Document;
use crate::shared::Shared;

/// 201 where this very request made the aggregate; a replay made nothing.
fn status(answer: &CommandAnswer) -> StatusCode {
    if answer.created && !answer.replayed { StatusCode::CREATED } else { StatusCode::OK }
}

/// The body. Fields in the order of their names.
#[derive(Debug, Serialize)]
struct Body<'a> {
    aggregate: Aggregate<'a>,
    consistency_token: &'a str,
    contract_version: &'static str,
    data: Vec<&'a Value>,
    events: Vec<Event<'a>>,
    operation_id: OperationId,
    replayed: bool,
}

#[derive(Debug, Serialize)]
struct Aggregate<'a> {
    id: AggregateId,
    #[serde(rename = "type")]
    kind: Kind<'a>,
    version: Sequence,
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    event_id: EventId,
    event_type: &'a str,
    position: Position,
}

#[derive(Debug, Serialize)]
struct Position {
    context: &'static str,
    offset: RecordOffset,
    partition: Partition,
}

/// `context.aggregate`.
#[derive(Debug)]
struct Kind<'a>(&'a CommandAnswer);

impl Serialize for Kind<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{}", self.0.context, self.0.aggregate_type))
    }
}

impl<'a> Body<'a> {
    fn new(answer: &'a CommandAnswer, log: &dyn EventLog, token: &'a str) -> Self {
        let partition = answer.operation_id.slot().partition(log.partitions(answer.context));
        let event = |event: &'a AnsweredEvent| Event {
            event_id: event.event_id,
            event_type: &event.event_type,
            position: Position { context: answer.context.name, offset: event.offset, partition },
        };
        Self {
            aggregate: Aggregate { id: answer.aggregate_id, kind: Kind(answer), version: answer.version },
            consistency_token: token,
            contract_version: CONTRACT_VERSION,
            data: answer.events.iter().map(|event| &event.data).collect(),
            events: answer.events.iter().map(event).collect(),
            operation_id: answer.operation_id,
            replayed: answer.replayed,
        }
    }
}

/// A line of a batch's answer.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    #[serde(flatten)]
    body: Body<'a>,
    line: u64,
    status: u16,
}

impl<'a> Line<'a> {
    /// `token` covers the answer; `line` is the number of the command's line.
    pub(crate) fn new(answer: &'a CommandAnswer, log: &dyn EventLog, token: &'a str, line: u64) -> Self {
        Self { body: Body::new(answer, log, token), line, status: status(answer).as_u16() }
    }
}

/// The whole answer to one command. `workspace` is where its aggregate is found; nothing where that is not known.
pub(crate) fn respond(answer: &CommandAnswer, shared: &Shared, workspace: Option<WorkspaceId>) -> Response {
    let log = &**shared.engine.log();
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, etag(answer.version.0));
    let token = shared.tokens.issue(&answer.position);
    if let Ok(token) = HeaderValue::try_from(token.as_str()) {
        headers.insert(CONSISTENCY_TOKEN, token);
    }
    if let Some(workspace) = workspace
        && let Ok(location) = HeaderValue::try_from(location(answer, workspace))
    {
        headers.insert(LOCATION, location);
    }
    (status(answer), headers, Document(Body::new(answer, log, &token))).into_response()
}

fn location(answer: &CommandAnswer, workspace: WorkspaceId) -> String {
    let base = format!("/v1/aggregates/{}.{}/{}", answer.context, answer.aggregate_type, answer.aggregate_id);
    if workspace == WorkspaceId::NIL { base } else { format!("{base}?workspace_id={workspace}") }
}

/// An aggregate's version as an ETag.
pub(crate) fn etag(version: u64) -> HeaderValue {
    // A number in quotes is a valid header value: this cannot fail.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}
