//! Random values of any released schema.

use annals_model::avro::DecodeError;
use annals_model::time::Timestamp;
use annals_schemas::CATALOGUE;
use apache_avro::schema::UuidSchema;
use apache_avro::types::Value;
use apache_avro::{Schema, Uuid};
use proptest::prelude::*;

/// Reads a framed record with our codec and writes it again.
pub(crate) fn our_bytes(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    annals_codegen::testing::our_bytes(&CATALOGUE, bytes)
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
