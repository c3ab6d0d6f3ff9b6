//! Rules of the released files that neither Avro nor the generator knows.

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde_json::{Value, json};

use annals_schemas::CATALOGUE;

use crate::files::{self, File};

const RECORD_KEYS: &[&str] = &["type", "name", "namespace", "doc", "event_type", "privileged", "envelope", "fields"];
const FIELD_KEYS: &[&str] = &["name", "type", "doc", "default", "content", "pii"];
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "passphrase", "secret", "token", "credential", "credentials", "apikey", "pin", "cvv"];
const SECRET_NAMES: &[&str] = &["api_key", "private_key", "access_key", "signing_key"];

fn is_blank(value: Option<&Value>) -> bool {
    value.and_then(Value::as_str).is_none_or(|text| text.trim().is_empty())
}

fn fields(schema: &Value) -> &[Value] {
    schema["fields"].as_array().map_or(&[], Vec::as_slice)
}

/// What is wrong with one file, by itself.
fn lint(path: &str, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if is_blank(schema.get("doc")) {
        found.push(format!("{path}: the record has no doc"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let namespace = format!("annals.{folder}").replace('/', ".");
    if schema["namespace"] != *namespace.trim_end_matches('.') {
        found.push(format!("{path}: the namespace is not that of its folder"));
    }
    found.extend(unknown_keys(path, schema, RECORD_KEYS));
    if schema.get("envelope").is_some() && folder != "engine" {
        found.push(format!("{path}: only the engine writes records without an envelope"));
    }
    for field in fields(schema) {
        let name = field["name"].as_str().unwrap_or_default();
        if is_blank(field.get("doc")) {
            found.push(format!("{path}: field {name} has no doc"));
        }
        if field.get("pii").is_some() && !path.starts_with("identity/") {
            found.push(format!("{path}: field {name} is personal; only identity may hold it"));
        }
        if looks_secret(name) {
            found.push(format!("{path}: field {name} looks like a secret; events hold secret ids only"));
        }
        found.extend(unknown_keys(&format!("{path}: field {name}"), field, FIELD_KEYS));
        lint_enums(&format!("{path}: field {name}"), &field["type"], &mut found);
    }
    found
}

/// A misspelt `privileged` or `pii` would be missing for ever.
fn unknown_keys(at: &str, object: &Value, known: &[&str]) -> Vec<String> {
    let keys = object.as_object().into_iter().flat_map(|object| object.keys());
    keys.filter(|key| !known.contains(&key.as_str())).map(|key| format!("{at}: unknown attribute {key}")).collect()
}

fn looks_secret(name: &str) -> bool {
    let has_word = name.split('_').any(|word| SECRET_WORDS.contains(&word));
    (has_word || SECRET_NAMES.iter().any(|secret| name.contains(secret))) && !name.ends_with("_id")
}

fn lint_enums(at: &str, ty: &Value, found: &mut Vec<String>) {
    match ty {
        Value::Array(branches) => branches.iter().for_each(|branch| lint_enums(at, branch, found)),
        Value::Object(object) if ty["type"] == "enum" => {
            let symbols: Vec<_> = ty["symbols"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !object.get("default").and_then(Value::as_str).is_some_and(|default| symbols.contains(&default)) {
                found.push(format!("{at}: the enum has no default symbol"));
            }
            if is_blank(object.get("doc")) {
                found.push(format!("{at}: the enum has no doc"));
            }
            let is_snake = |symbol: &&str| symbol.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            if !symbols.iter().all(is_snake) {
                found.push(format!("{at}: symbols are not snake_case"));
            }
        }
        _ => {}
    }
}

/// What is wrong with a revision beside an earlier one of the same major version.
fn lint_revision(path: &str, older: &Value, newer: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for field in fields(newer) {
        match fields(older).iter().find(|other| other["name"] == field["name"]) {
            None if field.get("default").is_none() => {
                found.push(format!("{path}: new field {} has no default", field["name"]));
            }
            None => {}
            // Avro calls this compatible because there is a default symbol; the meaning would be lost all the same.
            Some(other) if !symbols(&field["type"]).starts_with(&symbols(&other["type"])) => {
                found.push(format!("{path}: field {} drops or moves symbols", field["name"]));
            }
            Some(_) => {}
        }
    }
    let flag = |schema: &Value| schema.get("privileged").cloned();
    if flag(older) != flag(newer) {
        found.push(format!("{path}: privileged changes within a major version"));
    }
    found
}

fn symbols(ty: &Value) -> Vec<Value> {
    match ty {
        Value::Array(branches) => branches.iter().flat_map(symbols).collect(),
        _ => ty["symbols"].as_array().cloned().unwrap_or_default(),
    }
}

/// Each can read all that the other writes: partly is not enough.
fn is_compatible(older: &str, newer: &str) -> bool {
    let (older, newer) = (Schema::parse_str(older).unwrap(), Schema::parse_str(newer).unwrap());
    matches!(SchemaCompatibility::mutual_read(&older, &newer), Ok(Compatibility::Full))
}

#[test]
fn every_file_keeps_the_rules() {
    for file in files::all() {
        assert_eq!(lint(&file.path, &file.json()), [""; 0]);
    }
}

#[test]
fn every_revision_is_compatible_with_all_earlier_ones() {
    let files = files::all();
    let mut pairs = 0;
    for (index, newer) in files.iter().enumerate() {
        let earlier = |older: &&File| older.family() == newer.family() && older.version().0 == newer.version().0;
        for older in files[..index].iter().filter(earlier) {
            assert_eq!(lint_revision(&newer.path, &older.json(), &newer.json()), [""; 0]);
            // Complete writer schemas, because only they name every type.
            let complete =
                |file: &File| CATALOGUE.get(file.id()).expect("every file is in the catalogue").writer_schema;
            assert!(is_compatible(complete(older), complete(newer)), "{} and {}", older.path, newer.path);
            pairs += 1;
        }
    }
    assert!(pairs > 0, "there is a revision to try this on");
}

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
