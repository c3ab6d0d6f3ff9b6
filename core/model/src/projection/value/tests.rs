use super::*;
use crate::projection::{Field, RowError};

#[test]
fn a_number_that_is_none_is_refused_and_there_is_one_zero() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Float::new(value), Err(NotFinite));
        assert_eq!(Float::from_be_bytes(value.to_be_bytes()), None);
    }
    assert_eq!(Float::new(-0.0).unwrap().to_be_bytes(), [0; 8]);
    assert_eq!(Float::from_be_bytes((-0.0f64).to_be_bytes()), None);
    for value in [0.0, 0.1, -1.5e300, f64::MIN_POSITIVE] {
        let float = Float::new(value).unwrap();
        assert_eq!((float.get(), Float::from_be_bytes(float.to_be_bytes())), (value, Some(float)));
        assert_eq!(Float::from_value(float.value()), Ok(float));
    }
}

#[test]
fn json_has_one_text_per_value_and_no_other_is_read() {
    let json = Json::parse(" {\"b\": [1.0, null], \"a\": \"\\u00e9\"} ").unwrap();
    assert_eq!(json.as_str(), "{\"a\":\"é\",\"b\":[1,null]}");
    assert_eq!(json, Json::new(&json.to_value()));
    assert_eq!(Json::from_value(json.value()), Ok(json));
    let refused = Json::from_value(Value::Json("{\"b\":1,\"a\":2}"));
    assert_eq!(refused, Err(RowError::invalid("canonical JSON")));
    assert_eq!(Json::parse("{"), Err(NotJson));
    assert_eq!(Json::parse(&"[".repeat(100_000)), Err(NotJson));
}

#[test]
fn values_are_shown_as_themselves() {
    let shown = [
        (OwnedValue::Null, "null"),
        (OwnedValue::Bool(true), "true"),
        (OwnedValue::Int(-1), "-1"),
        (OwnedValue::Text("a\"b".into()), "\"a\\\"b\""),
        (OwnedValue::Uuid(Uuid::from_u128(7)), "\"00000000-0000-0000-0000-000000000007\""),
        (OwnedValue::Timestamp(Timestamp(0)), "\"1970-01-01T00:00:00.000000Z\""),
        (OwnedValue::Float(Float::new(0.5).unwrap()), "0.5"),
        (OwnedValue::Json("{\"a\":[1]}".into()), "{\"a\":[1]}"),
    ];
    for (value, expected) in shown {
        assert_eq!(serde_json::to_string(&value).unwrap(), expected);
        assert_eq!(value.to_json().to_string(), expected);
    }
}
