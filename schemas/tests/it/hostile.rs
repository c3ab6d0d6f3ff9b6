//! Bytes that nobody should have written: an error, never a panic, and never more than was asked.

use annals_codegen::testing::{golden_value, payload, their_bytes, writer_schema};
use annals_model::avro::DecodeError;
use annals_model::engine_record::{CLAIM_SCHEMA, Claim};
use annals_model::envelope::{Record, SchemaId, put_frame};
use annals_model::event::{Payload, ReleasedSchema};
use annals_model::limits;
use annals_model::position::RecordOffset;
use annals_schemas::CATALOGUE;
use annals_schemas::portfolio::application::Registered;
use proptest::prelude::*;

use crate::values::our_bytes;

fn golden(released: &ReleasedSchema) -> Vec<u8> {
    let schema = writer_schema(released);
    their_bytes(released, &schema, &golden_value(released, &schema))
}

fn registered() -> Vec<u8> {
    golden(CATALOGUE.get(Registered::SCHEMA).unwrap())
}

/// Reads everything that there is to read in a record.
fn read(bytes: &[u8]) -> Result<(), DecodeError> {
    let (schema, _) = annals_model::envelope::read_frame(bytes)?;
    if schema == CLAIM_SCHEMA {
        Claim::decode(bytes)?;
    } else {
        let record = Record::decode(RecordOffset(0), bytes)?;
        record.envelope.extensions.iter().for_each(drop);
        record.envelope.event_id.operation().context_number();
    }
    let released = CATALOGUE.get(schema).ok_or(DecodeError::UnknownSchema(schema.0))?;
    (released.payload_json)(payload(bytes)?)?;
    our_bytes(bytes).map(drop)
}

fn any_golden() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(CATALOGUE.iter().map(golden).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn flipped_bits_never_panic(mut bytes in any_golden(), flips in prop::collection::vec((any::<usize>(), 0..8u8), 1..4)) {
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        let _ = read(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_frame_never_panic(schema in any_golden(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut record = schema[..5].to_vec();
        record.extend(bytes);
        let _ = read(&record);
    }

    #[test]
    fn random_bytes_in_place_of_a_tail_never_panic(mut bytes in any_golden(), at: usize, tail in prop::collection::vec(any::<u8>(), 0..80)) {
        bytes.truncate(at % bytes.len());
        bytes.extend(tail);
        let _ = read(&bytes);
    }
}

#[test]
fn every_shorter_record_is_an_error() {
    for bytes in CATALOGUE.iter().map(golden) {
        assert_eq!(read(&bytes), Ok(()));
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length} of {bytes:?}");
        }
    }
}

#[test]
fn bytes_left_over_are_an_error() {
    for mut bytes in CATALOGUE.iter().map(golden) {
        bytes.push(0);
        assert_eq!(read(&bytes), Err(DecodeError::LeftOver { count: 1 }));
    }
}

#[test]
fn an_envelope_reads_without_the_payloads_schema() {
    let mut bytes = registered();
    let known = Record::decode(RecordOffset(0), &bytes).unwrap().envelope;
    let mut foreign = Vec::new();
    put_frame(&mut foreign, SchemaId(1));
    known.encode(&mut foreign);
    foreign.extend([0xff; 7]);

    let read = Record::decode(RecordOffset(0), &foreign).unwrap();
    assert_eq!((read.schema, &read.envelope, read.payload), (SchemaId(1), &known, [0xff; 7].as_slice()));
    assert!(CATALOGUE.get(read.schema).is_none());
    bytes[0] = 1;
    assert!(Record::decode(RecordOffset(0), &bytes).is_err(), "another magic byte is another format");
}

/// A record of `registered` whose extensions are these bytes.
fn with_extensions(extensions: &[u8]) -> Vec<u8> {
    let bytes = registered();
    let mut envelope = Record::decode(RecordOffset(0), &bytes).unwrap().envelope;
    envelope.extensions = Default::default();
    let mut out = Vec::new();
    put_frame(&mut out, Registered::SCHEMA);
    envelope.encode(&mut out);
    assert_eq!(out.pop(), Some(0), "no extensions are one byte");
    out.extend(extensions);
    out.extend(payload(&bytes).unwrap());
    out
}

#[test]
fn extensions_may_come_in_several_blocks_with_or_without_sizes() {
    // {"a": "1"} with its size, then {"b": "2"} without.
    let bytes = with_extensions(&[1, 8, 2, b'a', 2, b'1', 2, 2, b'b', 2, b'2', 0]);
    let record = Record::decode(RecordOffset(0), &bytes).unwrap();
    assert_eq!(record.envelope.extensions.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    assert_eq!(our_bytes(&bytes), Ok(bytes.clone()));
    assert_eq!(read(&bytes), Ok(()));
}

#[test]
fn more_extensions_than_the_limit_are_refused_before_they_are_read() {
    let mut block = Vec::new();
    annals_model::avro::put_long(&mut block, limits::EXTENSIONS_MAX as i64 + 1);
    let mut huge = Vec::new();
    annals_model::avro::put_long(&mut huge, i64::MIN);
    annals_model::avro::put_long(&mut huge, 0);
    for extensions in [block, huge] {
        assert!(Record::decode(RecordOffset(0), &with_extensions(&extensions)).is_err());
    }
}

#[test]
fn a_length_above_the_limit_is_refused_before_it_is_read() {
    let mut bytes = Vec::new();
    annals_model::avro::put_long(&mut bytes, i64::from(i32::MAX));
    let error = Registered::decode(&bytes).unwrap_err();
    assert_eq!(error, DecodeError::TooLong { what: "string", at: 0, max: limits::AVRO_FIELD_BYTES_MAX });
}
