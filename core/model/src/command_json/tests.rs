use proptest::prelude::*;
use serde::Deserialize;

use super::*;

fn refused(json: &str) -> FieldError {
    parse_strict(json.as_bytes()).unwrap_err()
}

#[test]
fn what_json_libraries_disagree_about_is_refused_by_name() {
    assert!(refused(r#"{"a":{"b":1,"b":2}}"#).message.contains("duplicate field `b`"));
    assert_eq!(refused(r#"{"a":{"b":99999999999999999999}}"#).path, "a.b");
    assert!(refused(r#"{"a":9223372036854775808}"#).message.contains("2^63-1"));
    assert!(refused("{\"a\":\"\\u0000\"}").message.contains("NUL"));
    assert!(refused("{\"\\u0000\":1}").message.contains("NUL"));
    assert!(refused(r#"{"a":1} x"#).message.contains("trailing"));
    assert!(refused("").message.contains("EOF"));
    assert!(refused("\"\u{1}\"").message.contains("control character"));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse_strict(nested(limits::JSON_DEPTH_MAX).as_bytes()).is_ok());
    assert!(refused(&nested(limits::JSON_DEPTH_MAX + 1)).message.contains("nested deeper"));
    assert!(refused(&nested(100_000)).message.contains("nested deeper"));
}

#[test]
fn the_number_of_items_is_bounded() {
    let wide = format!("[{}1]", "1,".repeat(limits::JSON_ITEMS_MAX));
    assert!(refused(&wide).message.contains("more than"));
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Sample {
    Rename { name: String, tags: Vec<u8> },
    Archive {},
}

#[test]
fn a_wrong_field_is_named_with_its_path() {
    let parse = |json| from_named::<Sample>("rename", parse_strict(json).unwrap());
    assert_eq!(parse(br#"{"name":3,"tags":[]}"#).unwrap_err().path, "payload.name");
    assert_eq!(parse(br#"{"name":"n","tags":[1,-1]}"#).unwrap_err().path, "payload.tags[1]");
    assert!(parse(br#"{"name":"n","tags":[],"more":1}"#).unwrap_err().message.contains("unknown field `more`"));
    assert!(parse(br#"{"tags":[]}"#).unwrap_err().message.contains("missing field `name`"));
    assert_eq!(parse(br#"[1]"#).unwrap_err().path, "payload");
    assert_eq!(from_named::<Sample>("archive", serde_json::json!({})), Ok(Sample::Archive {}));
}

#[test]
fn variant_names_are_the_wire_names() {
    assert_eq!(variant_names::<Sample>(), ["rename", "archive"]);
}

#[test]
fn the_fingerprint_ignores_order_and_spelling_and_nothing_else() {
    let print = |json: &str| fingerprint(&parse_strict(json.as_bytes()).unwrap());
    assert_eq!(print(r#"{"a":1,"b":"é"}"#), print(r#" {"b":"\u00e9", "a":1.0}"#));
    assert_ne!(print(r#"{"a":1}"#), print(r#"{"a":2}"#));
    assert_ne!(print(r#"{"a":1}"#), print(r#"{"a":"1"}"#));
    assert_ne!(print(r#"{"a":[1,2]}"#), print(r#"{"a":[2,1]}"#));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>, text in r#"[\[\]{}",:0-9eE.\-a\\u]{0,60}"#) {
        let _ = parse_strict(&bytes);
        let _ = parse_strict(text.as_bytes());
    }
}

#[test]
fn numbers_that_differ_have_fingerprints_that_differ() {
    for (one, other) in [
        ("9007199254740992", "9007199254740993"),
        ("9223372036854775806", "9223372036854775807"),
        ("-9007199254740993", "-9007199254740992"),
        ("0.1", "0.10000000000000002"),
    ] {
        let print = |text: &str| fingerprint(&parse_strict(text.as_bytes()).unwrap());
        assert_ne!(print(one), print(other), "{one} and {other}");
    }
}

/// Any value that can be parsed, with the characters and numbers that canonical forms differ about.
fn any_value() -> impl Strategy<Value = Value> {
    let text = r#"[a-zA-Z"\\/\u{1}\u{8}\u{9}\u{a}\u{c}\u{d}\u{1f}\u{7f}\u{e9}\u{2028}\u{e000}\u{ffff}\u{10000}\u{1f600}]{0,8}"#;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-9_007_199_254_740_993i64..9_007_199_254_740_993).prop_map(Value::from),
        (-100i64..100).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        prop_oneof![Just(-0.0), Just(1e21), Just(1e-7), Just(0.1), Just(5e-324), Just(333333333.3333332)]
            .prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(text, inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// A fingerprint is in the log for ever: the form under it must not change by a byte.
    #[test]
    fn the_canonical_form_is_that_of_rfc_8785(value in any_value()) {
        let mut canonical = Vec::new();
        super::canonical::put(&value, &mut canonical);
        let oracle = serde_json_canonicalizer::to_vec(&value).unwrap();
        prop_assert_eq!(String::from_utf8(canonical).unwrap(), String::from_utf8(oracle).unwrap());
    }
}
