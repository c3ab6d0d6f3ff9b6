//! An event as JSON: the envelope under the names of its contract, or a CloudEvent.

use annals_engine::command::HistoryEvent;
use annals_model::ids::{AggregateId, CorrelationId, EventId, OperationId, Partition, TenantId, WorkspaceId};
use annals_model::position::{RecordOffset, Sequence};
use annals_model::time::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// One CloudEvent.
pub(crate) const CLOUD_EVENT: &str = "application/cloudevents+json";
/// A page of CloudEvents.
pub(crate) const CLOUD_EVENTS: &str = "application/cloudevents-batch+json";

/// The envelope. What the contract makes mandatory comes first and is never empty: the nil workspace is that of what
/// belongs to the tenant as a whole.
#[derive(Debug, Serialize)]
pub(crate) struct EventDocument<'a> {
    event_id: EventId,
    event_type: &'a str,
    event_version: i32,
    emitted_at: Timestamp,
    occurred_at: Timestamp,
    tenant_id: TenantId,
    workspace_id: WorkspaceId,
    actor_id: String,
    correlation_id: CorrelationId,
    payload: &'a Value,
    aggregate: Aggregate,
    sequence: Sequence,
    operation_id: OperationId,
    causation_id: Option<EventId>,
    client_request_id: Option<&'a str>,
    position: Position,
    policy_decision: &'a str,
    reason: Option<&'a str>,
    adr_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Aggregate {
    #[serde(rename = "type")]
    kind: String,
    id: AggregateId,
}

#[derive(Debug, Serialize)]
struct Position {
    context: &'static str,
    partition: Partition,
    offset: RecordOffset,
}

impl<'a> From<&'a HistoryEvent> for EventDocument<'a> {
    fn from(event: &'a HistoryEvent) -> Self {
        Self {
            event_id: event.event_id,
            event_type: &event.event_type,
            event_version: event.event_version,
            emitted_at: event.emitted_at,
            occurred_at: event.occurred_at,
            tenant_id: event.tenant_id,
            workspace_id: event.workspace_id,
            actor_id: event.actor.to_string(),
            correlation_id: event.correlation_id,
            payload: &event.payload,
            aggregate: Aggregate { kind: aggregate_type(event), id: event.aggregate_id },
            sequence: event.sequence,
            operation_id: event.event_id.operation(),
            causation_id: event.causation_id,
            client_request_id: event.client_request_id.as_deref(),
            position: Position { context: event.at.context.name, partition: event.at.partition, offset: event.offset },
            policy_decision: &event.policy_decision,
            reason: event.reason.as_deref(),
            adr_id: event.adr_id.as_deref(),
        }
    }
}

/// `context.aggregate`.
fn aggregate_type(event: &HistoryEvent) -> String {
    format!("{}.{}", event.at.context, event.aggregate_type)
}

/// The event as CloudEvents 1.0 has it. What only this log knows are extension attributes: their names have lower-case
/// letters and digits, their values are texts, or integers of 32 bits, and what is not there has no attribute.
pub(crate) fn cloud_event(event: &HistoryEvent) -> Value {
    let mut attributes = Map::new();
    let mut set = |name: &str, value: Value| drop(attributes.insert(name.to_owned(), value));
    set("specversion", "1.0".into());
    set("id", event.event_id.to_string().into());
    set("type", event.event_type.as_str().into());
    set("source", format!("/v1/aggregates/{}", aggregate_type(event)).into());
    set("subject", event.aggregate_id.to_string().into());
    set("time", event.occurred_at.to_string().into());
    set("datacontenttype", "application/json".into());
    set("eventversion", event.event_version.into());
    set("emittedat", event.emitted_at.to_string().into());
    set("tenantid", event.tenant_id.to_string().into());
    set("workspaceid", event.workspace_id.to_string().into());
    set("actorid", event.actor.to_string().into());
    set("correlationid", event.correlation_id.to_string().into());
    set("operationid", event.event_id.operation().to_string().into());
    set("policydecision", text(&event.policy_decision));
    set("context", event.at.context.name.into());
    set("partition", event.at.partition.0.into());
    // Beyond 32 bits, which is where a CloudEvent's integers end.
    set("offset", event.offset.to_string().into());
    set("sequence", event.sequence.to_string().into());
    let given = [
        ("causationid", event.causation_id.map(|id| id.to_string().into())),
        ("clientrequestid", event.client_request_id.as_deref().map(text)),
        ("reason", event.reason.as_deref().map(text)),
        ("adrid", event.adr_id.as_deref().map(text)),
    ];
    given.into_iter().for_each(|(name, value)| value.into_iter().for_each(|value| set(name, value)));
    set("data", event.payload.clone());
    Value::Object(attributes)
}

/// A text as an attribute may hold it: without control characters and what Unicode calls no characters. A reason may have
/// several lines.
fn text(text: &str) -> Value {
    let is_none = |character: char| {
        let code = u32::from(character);
        character.is_control() || code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
    };
    text.replace(is_none, " ").into()
}
