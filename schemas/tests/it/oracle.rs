//! Our codec and apache-avro agree on every released schema.

use annals_codegen::testing::{golden_value, payload, their_bytes, their_value, writer_schema};
use annals_model::engine_record::CLAIM_SCHEMA;
use annals_model::envelope::{ActorRef, Envelope, Record};
use annals_model::event::ReleasedSchema;
use annals_model::position::RecordOffset;
use annals_schemas::CATALOGUE;
use apache_avro::Schema;
use apache_avro::types::Value;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::values::{any_record, json, our_bytes};

#[test]
fn our_codec_and_apache_avro_agree_on_random_records_of_every_schema() {
    for released in CATALOGUE.iter() {
        let schema = writer_schema(released);
        let mut runner = TestRunner::new(Config { cases: 100, ..Config::default() });
        let agree = |value| {
            agree(released, &schema, &value);
            Ok::<_, TestCaseError>(())
        };
        runner.run(&any_record(&schema), agree).unwrap_or_else(|error| panic!("{}: {error}", released.event_type));
    }
}

#[test]
fn our_codec_and_apache_avro_agree_on_the_golden_value_of_every_schema() {
    for released in CATALOGUE.iter() {
        let schema = writer_schema(released);
        agree(released, &schema, &golden_value(released, &schema));
    }
}

fn agree(released: &ReleasedSchema, schema: &Schema, value: &Value) {
    let theirs = their_bytes(released, schema, value);
    let ours = our_bytes(&theirs).unwrap();
    assert_eq!(ours, theirs, "bytes of {value:?}");
    assert_eq!(their_value(schema, &ours).as_ref(), Ok(value));

    let Value::Record(fields) = value else { panic!("not a record: {value:?}") };
    let payload_json = (released.payload_json)(payload(&theirs).unwrap()).unwrap();
    if released.id == CLAIM_SCHEMA {
        assert_eq!(payload_json, json(value));
        return;
    }
    let (payload, envelope) = fields.split_last().unwrap();
    assert_eq!(payload.0, "payload");
    assert_eq!(payload_json, json(&payload.1));
    let record = Record::decode(RecordOffset(0), &theirs).unwrap();
    assert_eq!(record.schema, released.id);
    // By name: a codec that swaps two fields would still write what it read.
    assert_eq!(as_avro(&record.envelope), envelope);
}

fn as_avro(envelope: &Envelope<'_>) -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    let option = |value: Option<Value>| match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    };
    let long = |number: u64| Value::Long(i64::try_from(number).unwrap());
    let fields = [
        ("event_id", Value::Uuid(envelope.event_id.0)),
        ("event_type", text(envelope.event_type)),
        ("event_version", Value::Int(envelope.event_version)),
        ("occurred_at", Value::TimestampMicros(envelope.occurred_at.0)),
        ("emitted_at", Value::TimestampMicros(envelope.emitted_at.0)),
        ("tenant_id", Value::Uuid(envelope.tenant_id.0)),
        ("workspace_id", Value::Uuid(envelope.workspace_id.0)),
        ("aggregate_type", text(envelope.aggregate_type)),
        ("aggregate_id", Value::Uuid(envelope.aggregate_id.0)),
        ("sequence", long(envelope.sequence.0)),
        (
            "actor_id",
            match envelope.actor_id {
                ActorRef::User(id) => Value::Union(0, Box::new(Value::Uuid(id.0))),
                ActorRef::Service(name) => Value::Union(1, Box::new(text(name))),
            },
        ),
        ("correlation_id", option(envelope.correlation_id.map(|id| Value::Uuid(id.0)))),
        ("causation_id", option(envelope.causation_id.map(|id| Value::Uuid(id.0)))),
        ("client_request_id", option(envelope.request.map(|request| text(request.client_request_id)))),
        (
            "request_fingerprint",
            option(envelope.request.map(|request| Value::Fixed(16, request.fingerprint.0.to_vec()))),
        ),
        ("ordinal", long(envelope.ordinal.0)),
        ("claim_epoch", long(envelope.claim_epoch.0)),
        ("commit_index", Value::Int(envelope.commit_index.0.into())),
        ("commit_size", Value::Int(envelope.commit_size.into())),
        ("policy_decision", text(envelope.policy_decision)),
        ("reason", option(envelope.reason.map(text))),
        ("adr_id", option(envelope.adr_id.map(text))),
        (
            "extensions",
            Value::Map(envelope.extensions.iter().map(|(name, value)| (name.to_owned(), text(value))).collect()),
        ),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}
