//! What a client is told about an accepted command.

use annals_engine::command::CommandAnswer;
use annals_engine::log::EventLog;
use annals_model::ids::WorkspaceId;
use annals_model::position::RecordOffset;
use axum::Json;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::CONTRACT_VERSION;

/// `Consistency-Token`: on an answer, what covers it; on a query, what the answer must cover.
pub(crate) const CONSISTENCY_TOKEN: &str = "consistency-token";

/// 201 where this very request made the aggregate; a replay made nothing.
pub(crate) fn status(answer: &CommandAnswer) -> StatusCode {
    if answer.created && !answer.replayed { StatusCode::CREATED } else { StatusCode::OK }
}

/// The body, or the line of a batch.
pub(crate) fn to_json(answer: &CommandAnswer, log: &dyn EventLog) -> Map<String, Value> {
    let partition = answer.operation_id.slot().partition(log.partitions(answer.context));
    let position =
        |offset: RecordOffset| json!({ "context": answer.context.name, "partition": partition, "offset": offset });
    let events: Vec<Value> = answer
        .events
        .iter()
        .map(|event| {
            json!({ "event_id": event.event_id, "event_type": event.event_type, "position": position(event.offset) })
        })
        .collect();
    let data: Vec<&Value> = answer.events.iter().map(|event| &event.data).collect();
    let body = json!({
        "contract_version": CONTRACT_VERSION,
        "operation_id": answer.operation_id,
        "replayed": answer.replayed,
        "aggregate": {
            "type": format!("{}.{}", answer.context, answer.aggregate_type),
            "id": answer.aggregate_id,
            "version": answer.version,
        },
        "events": events,
        "consistency_token": answer.position.to_token(log.id()),
        "data": data,
    });
    match body {
        Value::Object(body) => body,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// The whole answer to one command. `workspace` is where its aggregate is found; nothing where that is not known.
pub(crate) fn respond(answer: &CommandAnswer, log: &dyn EventLog, workspace: Option<WorkspaceId>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, etag(answer.version.0));
    let token = answer.position.to_token(log.id());
    if let Ok(token) = HeaderValue::try_from(token) {
        headers.insert(CONSISTENCY_TOKEN, token);
    }
    if let Some(workspace) = workspace
        && let Ok(location) = HeaderValue::try_from(location(answer, workspace))
    {
        headers.insert(LOCATION, location);
    }
    (status(answer), headers, Json(Value::Object(to_json(answer, log)))).into_response()
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
