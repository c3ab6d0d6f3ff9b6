use serde_json::json;

use super::*;

/// A file without fault, and the same with one member set.
fn seeded(pointer: &str, key: &str, value: Value) -> Value {
    let mut schema = json!({
        "type": "record", "name": "Created", "namespace": "annals.portfolio.project", "doc": "Made.",
        "event_type": "project.created",
        "fields": [{"name": "size", "doc": "How big.", "type": {
            "type": "enum", "name": "Size", "doc": "How big.", "symbols": ["small", "big"], "default": "small"
        }}],
    });
    if let Some(Value::Object(object)) = schema.pointer_mut(pointer) {
        object.insert(key.to_owned(), value);
    }
    schema
}

const PATH: &str = "portfolio/project/project.created.v1.avsc";

#[test]
fn every_rule_catches_a_file_that_breaks_it() {
    assert_eq!(lint(PATH, &seeded("", "doc", json!("Made."))), [""; 0]);
    let field = "/fields/0";
    let cases = [
        ("", "doc", json!(""), "the record has no doc"),
        ("", "namespace", json!("annals.portfolio"), "the namespace is not that of its folder"),
        ("", "namespace", json!("annalsportfolio.project"), "the namespace is not that of its folder"),
        ("", "priviledged", json!(true), "unknown attribute priviledged"),
        ("", "envelope", json!(false), "only the engine writes records without an envelope"),
        (field, "doc", json!(" "), "field size has no doc"),
        (field, "pii", json!("id"), "field size is personal; only identity may hold it"),
        (field, "contents", json!(true), "field size: unknown attribute contents"),
        (field, "name", json!("access_token"), "field access_token looks like a secret; events hold secret ids only"),
        (field, "name", json!("smtp_password"), "field smtp_password looks like a secret; events hold secret ids only"),
        (field, "name", json!("api_key"), "field api_key looks like a secret; events hold secret ids only"),
        ("/fields/0/type", "default", Value::Null, "field size: the enum has no default symbol"),
        ("/fields/0/type", "default", json!("huge"), "field size: the enum has no default symbol"),
        ("/fields/0/type", "doc", Value::Null, "field size: the enum has no doc"),
        ("/fields/0/type", "symbols", json!(["small", "Big"]), "field size: symbols are not snake_case"),
    ];
    for (pointer, key, value, expected) in cases {
        assert_eq!(lint(PATH, &seeded(pointer, key, value)), [format!("{PATH}: {expected}")]);
    }
    assert_eq!(lint(PATH, &seeded(field, "name", json!("secret_id"))), [""; 0], "ids of secrets are no secrets");
    let optional = json!(["null", {"type": "enum", "name": "Size", "doc": "How big.", "symbols": ["small"]}]);
    let found = lint(PATH, &seeded(field, "type", optional));
    assert_eq!(found, [format!("{PATH}: field size: the enum has no default symbol")]);
}

#[test]
fn every_revision_rule_catches_a_revision_that_breaks_it() {
    let older = seeded("", "doc", json!("Made."));
    let mut without_default = older.clone();
    let field = json!({"name": "note", "type": "string", "doc": "Why."});
    without_default["fields"].as_array_mut().unwrap().push(field);
    let fewer = seeded("/fields/0/type", "symbols", json!(["small"]));
    let moved = seeded("/fields/0/type", "symbols", json!(["big", "small"]));
    let privileged = seeded("", "privileged", json!(true));
    for (newer, expected) in [
        (&without_default, "new field \"note\" has no default"),
        (&fewer, "field \"size\" drops or moves symbols"),
        (&moved, "field \"size\" drops or moves symbols"),
        (&privileged, "privileged changes within a major version"),
    ] {
        assert_eq!(lint_revision(PATH, &older, newer), [format!("{PATH}: {expected}")]);
    }
    let more = seeded("/fields/0/type", "symbols", json!(["small", "big", "huge"]));
    assert_eq!(lint_revision(PATH, &older, &more), [""; 0]);
    assert!(is_compatible(&older.to_string(), &more.to_string()));
    assert!(!is_compatible(&older.to_string(), &without_default.to_string()));
}

#[test]
fn partly_compatible_schemas_are_refused() {
    let record = |ty: Value| {
        let field = json!({"name": "size", "type": ty});
        json!({"type": "record", "name": "Created", "fields": [field]}).to_string()
    };
    let without_default = |symbols: Value| record(json!({"type": "enum", "name": "Size", "symbols": symbols}));
    let long = record(json!("long"));
    assert!(is_compatible(&long, &long));
    for (older, newer) in [
        (record(json!("int")), long.clone()),
        (record(json!(["null", "long"])), long),
        (without_default(json!(["small", "big"])), without_default(json!(["small"]))),
        (record(json!("string")), record(json!("double"))),
    ] {
        assert!(!is_compatible(&older, &newer), "{older} and {newer}");
        assert!(!is_compatible(&newer, &older), "{newer} and {older}");
    }
}
