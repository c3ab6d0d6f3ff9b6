//! Values of any released schema: one fixed value for the golden bytes, and random ones.

use annals_model::avro::DecodeError;
use annals_model::engine_record::CLAIM_SCHEMA;
use annals_model::envelope::{FRAME_BYTES, Record, put_frame, read_frame};
use annals_model::event::ReleasedSchema;
use annals_model::position::RecordOffset;
use annals_model::time::Timestamp;
use annals_schemas::rewrite;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::UuidSchema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, Uuid};
use proptest::prelude::*;

/// The complete writer schema, as apache-avro reads it.
pub(crate) fn writer_schema(released: &ReleasedSchema) -> Schema {
    Schema::parse_str(released.writer_schema).unwrap_or_else(|error| panic!("{}: {error}", released.event_type))
}

/// apache-avro's bytes of a value, framed.
pub(crate) fn their_bytes(released: &ReleasedSchema, schema: &Schema, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, released.id);
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_ref(&mut bytes, value).unwrap_or_else(|error| panic!("{}: {error}", released.event_type));
    bytes
}

/// apache-avro's reading of a framed record.
pub(crate) fn their_value(schema: &Schema, bytes: &[u8]) -> Value {
    let mut rest = &bytes[FRAME_BYTES..];
    let value = GenericDatumReader::builder(schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes left over", rest.len());
    value
}

/// The payload's bytes of a framed record: all of it where there is no envelope.
pub(crate) fn payload(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let (schema, reader) = read_frame(bytes)?;
    if schema == CLAIM_SCHEMA { Ok(reader.rest()) } else { Ok(Record::decode(RecordOffset(0), bytes)?.payload) }
}

/// Reads a framed record with our codec and writes it again.
pub(crate) fn our_bytes(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (schema, _) = read_frame(bytes)?;
    let mut out = Vec::new();
    put_frame(&mut out, schema);
    if schema != CLAIM_SCHEMA {
        Record::decode(RecordOffset(0), bytes)?.envelope.encode(&mut out);
    }
    out.extend(rewrite(schema, payload(bytes)?)?);
    Ok(out)
}

/// The value that the golden bytes of a schema hold; nothing in it is null, zero or the first of several.
pub(crate) fn golden_value(released: &ReleasedSchema, schema: &Schema) -> Value {
    let mut value = fixed_value(schema, "record");
    if let Value::Record(fields) = &mut value {
        for (name, value) in fields {
            match name.as_str() {
                "event_type" => *value = Value::String(released.event_type.to_owned()),
                "event_version" => *value = Value::Int(released.version),
                "aggregate_type" => *value = Value::String("application".to_owned()),
                "commit_index" => *value = Value::Int(1),
                "commit_size" => *value = Value::Int(2),
                _ => {}
            }
        }
    }
    value
}

fn fixed_value(schema: &Schema, field: &str) -> Value {
    // Bytes of the field's name, so that two swapped fields show.
    let name = |index: usize| field.as_bytes()[index % field.len()];
    match schema {
        Schema::Boolean => Value::Boolean(true),
        Schema::Int => Value::Int(i32::from(name(0))),
        Schema::Long => Value::Long(i64::from(name(0)) * 1_000),
        Schema::Double => Value::Double(f64::from(name(0)) / 8.0),
        Schema::String => Value::String(format!("the {field} – ü")),
        Schema::TimestampMicros => Value::TimestampMicros(1_768_824_000_000_000 + i64::from(name(0))),
        Schema::Uuid(UuidSchema::Fixed(_)) | Schema::Ref { .. } => {
            Value::Uuid(Uuid::from_bytes(std::array::from_fn(name)))
        }
        Schema::Fixed(fixed) => Value::Fixed(fixed.size, (0..fixed.size).map(name).collect()),
        Schema::Enum(symbols) => {
            let last = symbols.symbols.len() - 1;
            Value::Enum(last as u32, symbols.symbols[last].clone())
        }
        Schema::Union(union) => {
            let last = union.variants().len() - 1;
            Value::Union(last as u32, Box::new(fixed_value(&union.variants()[last], field)))
        }
        Schema::Map(map) => Value::Map([("key".to_owned(), fixed_value(&map.types, field))].into()),
        Schema::Record(record) => Value::Record(
            record.fields.iter().map(|field| (field.name.clone(), fixed_value(&field.schema, &field.name))).collect(),
        ),
        other => panic!("no value of {other:?}"),
    }
}

/// Any value that an envelope of ours may hold, with any payload.
pub(crate) fn any_record(schema: &Schema) -> BoxedStrategy<Value> {
    any_value(schema).prop_map(within_bounds).boxed()
}

fn any_value(schema: &Schema) -> BoxedStrategy<Value> {
    match schema {
        Schema::Null => Just(Value::Null).boxed(),
        Schema::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        Schema::Int => any::<i32>().prop_map(Value::Int).boxed(),
        Schema::Long => any::<i64>().prop_map(Value::Long).boxed(),
        Schema::Double => prop::num::f64::NORMAL.prop_map(Value::Double).boxed(),
        Schema::String => any::<String>().prop_map(Value::String).boxed(),
        Schema::TimestampMicros => any::<i64>().prop_map(Value::TimestampMicros).boxed(),
        // The only name that a released file may refer to; the build refuses others.
        Schema::Uuid(UuidSchema::Fixed(_)) | Schema::Ref { .. } => {
            any::<[u8; 16]>().prop_map(|bytes| Value::Uuid(Uuid::from_bytes(bytes))).boxed()
        }
        Schema::Fixed(fixed) => {
            let size = fixed.size;
            prop::collection::vec(any::<u8>(), size).prop_map(move |bytes| Value::Fixed(size, bytes)).boxed()
        }
        Schema::Enum(symbols) => {
            let symbols = symbols.symbols.clone();
            (0..symbols.len()).prop_map(move |index| Value::Enum(index as u32, symbols[index].clone())).boxed()
        }
        Schema::Union(union) => {
            let branches: Vec<_> = union.variants().iter().map(any_value).enumerate().collect();
            prop::sample::select(branches)
                .prop_flat_map(|(index, branch)| {
                    branch.prop_map(move |value| Value::Union(index as u32, Box::new(value)))
                })
                .boxed()
        }
        Schema::Map(map) => {
            prop::collection::hash_map(any::<String>(), any_value(&map.types), 0..4).prop_map(Value::Map).boxed()
        }
        Schema::Record(record) => record
            .fields
            .iter()
            .map(|field| (Just(field.name.clone()), any_value(&field.schema)))
            .collect::<Vec<_>>()
            .prop_map(Value::Record)
            .boxed(),
        other => panic!("no strategy for {other:?}"),
    }
}

/// Numbers of an envelope are not negative, a commit index lies below its commit size, a request has its fingerprint.
fn within_bounds(mut value: Value) -> Value {
    let Value::Record(fields) = &mut value else { panic!("not a record: {value:?}") };
    let mut has_request = None;
    for (name, value) in fields {
        match (name.as_str(), &mut *value) {
            ("sequence" | "ordinal" | "claim_epoch", Value::Long(number)) => *number &= i64::MAX,
            ("commit_index", Value::Int(number)) => *number &= 0x7fff,
            ("commit_size", Value::Int(number)) => *number = 0x8000 | (*number & 0x7fff),
            ("client_request_id", Value::Union(branch, _)) => has_request = Some(*branch == 1),
            ("request_fingerprint", value) if has_request == Some(true) => {
                *value = Value::Union(1, Box::new(Value::Fixed(16, vec![9; 16])));
            }
            ("request_fingerprint", value) => *value = Value::Union(0, Box::new(Value::Null)),
            _ => {}
        }
    }
    value
}

/// The JSON that our types should make of an Avro value.
pub(crate) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Long(value) => (*value).into(),
        Value::Double(value) => (*value).into(),
        Value::String(value) | Value::Enum(_, value) => value.as_str().into(),
        Value::TimestampMicros(value) => Timestamp(*value).to_string().into(),
        Value::Uuid(value) => value.to_string().into(),
        Value::Union(_, value) => json(value),
        Value::Record(fields) => {
            serde_json::Value::Object(fields.iter().map(|(name, value)| (name.clone(), json(value))).collect())
        }
        other => panic!("no payload holds {other:?}"),
    }
}
