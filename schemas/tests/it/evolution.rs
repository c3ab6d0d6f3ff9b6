//! Whatever was ever released reads as the newest version.

use annals_model::avro::DecodeError;
use annals_model::envelope::SchemaId;
use annals_model::event::{Event as _, EventSet, Payload};
use annals_model::ids::AggregateId;
use annals_schemas::portfolio::application::{Criticality, Event, Registered, Retired, RiskAssessed, v1};

fn bytes(payload: &impl Payload) -> Vec<u8> {
    let mut out = Vec::new();
    payload.encode(&mut out);
    out
}

fn registered() -> Registered {
    Registered {
        name: "billing".into(),
        project_id: Some(AggregateId::from_bytes([7; 16])),
        criticality: Criticality::High,
        source: Some("https://github.com/example/billing".into()),
    }
}

#[test]
fn an_event_set_writes_and_reads_its_events() {
    for event in [Event::from(registered()), Retired { forced: true }.into()] {
        let mut out = Vec::new();
        event.encode(&mut out);
        assert_eq!(Event::decode_any(event.schema(), &out), Ok(event));
    }
}

#[test]
fn an_older_revision_reads_with_the_new_fields_default() {
    let Registered { name, project_id, criticality, .. } = registered();
    let older = v1::r0::Registered { name, project_id, criticality };
    let read = Registered::decode_any(v1::r0::Registered::SCHEMA, &bytes(&older));
    assert_eq!(read, Ok(Registered { source: None, ..registered() }));
    assert_eq!(v1::r0::Registered::EVENT_VERSION, Registered::EVENT_VERSION);
    assert_ne!(v1::r0::Registered::SCHEMA, Registered::SCHEMA);
}

#[test]
fn an_older_major_version_reads_through_its_upcaster() {
    let older = v1::RiskAssessed { severity: v1::Severity::Critical, note: Some("end of life".into()) };
    let newest = RiskAssessed { likelihood: 5, impact: 5, note: Some("end of life".into()) };
    let read = Event::decode_any(v1::RiskAssessed::SCHEMA, &bytes(&older));
    assert_eq!(read, Ok(Event::RiskAssessed(newest)));
    assert_eq!((RiskAssessed::OLDEST_VERSION, RiskAssessed::EVENT_VERSION), (1, 2));
}

#[test]
fn a_schema_of_another_aggregate_or_of_nobody_is_refused() {
    let other = annals_schemas::portfolio::project::Created::SCHEMA;
    for unknown in [other, SchemaId(1)] {
        assert_eq!(Event::decode_any(unknown, &[]), Err(DecodeError::UnknownSchema(unknown.0)));
    }
}

#[test]
fn bytes_behind_a_payload_are_an_error() {
    let mut out = bytes(&registered());
    out.push(0);
    assert_eq!(Event::decode_any(Registered::SCHEMA, &out), Err(DecodeError::LeftOver { count: 1 }));
}

#[test]
fn payloads_are_plain_json() {
    let json = Event::from(registered()).to_json();
    let expected = serde_json::json!({
        "name": "billing",
        "project_id": "07070707-0707-0707-0707-070707070707",
        "criticality": "high",
        "source": "https://github.com/example/billing",
    });
    assert_eq!(json, expected);
    assert_eq!(serde_json::to_value(annals_schemas::access::workspace::Archived {}).unwrap(), serde_json::json!({}));
}

#[test]
fn privileged_events_are_marked() {
    let privileged: Vec<_> = Event::TYPES.iter().filter(|kind| kind.privileged).map(|kind| kind.event_type).collect();
    assert_eq!(privileged, ["application.retired"]);
}
