//! Random payloads of any released event, drawn from its Avro schema: older revisions too, nothing to write per event.

use annals_model::avro::{put_bool, put_int, put_long, put_str};
use annals_model::context::ErasedAggregate;
use annals_model::event::ReleasedSchema;
use proptest::prelude::*;
use serde_json::Value;

/// Every released schema of an aggregate's events.
pub(crate) fn released(kind: &dyn ErasedAggregate) -> impl Iterator<Item = &'static ReleasedSchema> {
    let ours = kind.event_kinds().iter().map(|event| event.event_type);
    ours.flat_map(|event| annals_schemas::CATALOGUE.iter().filter(move |schema| schema.event_type == event))
}

/// Avro bytes of payloads written under this schema.
pub(crate) fn payloads(schema: &ReleasedSchema) -> BoxedStrategy<Vec<u8>> {
    let record: Value = serde_json::from_str(schema.writer_schema).unwrap();
    let payload = record["fields"].as_array().unwrap().last().unwrap();
    assert_eq!(payload["name"], "payload");
    let fields: Vec<_> = payload["type"]["fields"].as_array().unwrap().iter().map(|field| of(&field["type"])).collect();
    fields.prop_map(|fields| fields.concat()).boxed()
}

fn of(avro: &Value) -> BoxedStrategy<Vec<u8>> {
    let name = avro.as_str().or_else(|| avro["type"].as_str());
    match (name, avro.as_array()) {
        (Some("string"), _) => any::<String>().prop_map(|text| with(|out| put_str(out, &text))).boxed(),
        (Some("int"), _) => any::<i32>().prop_map(|number| with(|out| put_int(out, number))).boxed(),
        (Some("long"), _) => any::<i64>().prop_map(|number| with(|out| put_long(out, number))).boxed(),
        (Some("boolean"), _) => any::<bool>().prop_map(|truth| with(|out| put_bool(out, truth))).boxed(),
        (Some("annals.Uuid" | "fixed"), _) => any::<[u8; 16]>().prop_map(Vec::from).boxed(),
        (Some("enum"), _) => {
            let symbols = avro["symbols"].as_array().unwrap().len() as i32;
            (0..symbols).prop_map(|symbol| with(|out| put_int(out, symbol))).boxed()
        }
        (None, Some(branches)) if branches.len() == 2 && branches[0] == "null" => {
            let some = of(&branches[1]).prop_map(|value| [vec![2], value].concat());
            prop_oneof![Just(vec![0]), some].boxed()
        }
        _ => panic!("no random values for {avro} yet; add them here"),
    }
}

fn with(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![];
    put(&mut out);
    out
}
