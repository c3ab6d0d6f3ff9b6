//! Records of any released schema: the fixed value of the golden bytes, and each codec's bytes of a value.

use annals_model::avro::DecodeError;
use annals_model::engine_record::CLAIM_SCHEMA;
use annals_model::envelope::{FRAME_BYTES, Record, put_frame, read_frame};
use annals_model::event::{ReleasedSchema, SchemaCatalogue};
use annals_model::position::RecordOffset;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::UuidSchema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, Uuid};

/// The complete writer schema, as apache-avro reads it.
pub fn writer_schema(released: &ReleasedSchema) -> Schema {
    Schema::parse_str(released.writer_schema).unwrap_or_else(|error| panic!("{}: {error}", released.event_type))
}

/// apache-avro's bytes of a value, framed.
pub fn their_bytes(released: &ReleasedSchema, schema: &Schema, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, released.id);
    let written =
        GenericDatumWriter::builder(schema).build().and_then(|writer| writer.write_value_ref(&mut bytes, value));
    written.unwrap_or_else(|error| panic!("{}: {error}", released.event_type));
    bytes
}

/// apache-avro's reading of a framed record, to its last byte; or why there is none.
pub fn their_value(schema: &Schema, bytes: &[u8]) -> Result<Value, String> {
    let mut rest = bytes.get(FRAME_BYTES..).unwrap_or_default();
    let reader = GenericDatumReader::builder(schema).build();
    let value = reader.and_then(|reader| reader.read_value(&mut rest)).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes left over", rest.len())) }
}

/// The payload's bytes of a framed record: all of it where there is no envelope.
pub fn payload(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let (schema, reader) = read_frame(bytes)?;
    if schema == CLAIM_SCHEMA { Ok(reader.rest()) } else { Ok(Record::decode(RecordOffset(0), bytes)?.payload) }
}

/// Reads a framed record with our codec and writes it again.
pub fn our_bytes(catalogue: &SchemaCatalogue, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (schema, _) = read_frame(bytes)?;
    let mut out = Vec::new();
    put_frame(&mut out, schema);
    if schema != CLAIM_SCHEMA {
        Record::decode(RecordOffset(0), bytes)?.envelope.encode(&mut out);
    }
    let released = catalogue.get(schema).ok_or(DecodeError::UnknownSchema(schema.0))?;
    out.extend((released.rewrite)(payload(bytes)?)?);
    Ok(out)
}

/// The value that the golden bytes of a schema hold; nothing in it is null, zero or the first of several.
pub fn golden_value(released: &ReleasedSchema, schema: &Schema) -> Value {
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
