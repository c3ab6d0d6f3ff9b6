//! Rules of the released files that neither Avro nor the generator knows.

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde_json::Value;

use super::files::File;

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

/// What is wrong with the files, each by itself and beside the earlier ones of its major version.
pub(super) fn faults(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, newer) in files.iter().enumerate() {
        found.extend(lint(&newer.path, &newer.json()));
        let earlier = |older: &&File| older.family() == newer.family() && older.version().0 == newer.version().0;
        for older in files[..index].iter().filter(earlier) {
            found.extend(lint_revision(&newer.path, &older.json(), &newer.json()));
            // Complete writer schemas, because only they name every type.
            if let (Some(before), Some(after)) = (&older.writer_schema, &newer.writer_schema)
                && !is_compatible(before, after)
            {
                found.push(format!("{}: cannot read all that {} wrote, or be read by it", newer.path, older.path));
            }
        }
    }
    found
}

/// What is wrong with one file, by itself.
fn lint(path: &str, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if is_blank(schema.get("doc")) {
        found.push(format!("{path}: the record has no doc"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let namespace = schema["namespace"].as_str().unwrap_or_default();
    // What stands before the folder's is the application's own: `annals.portfolio.project`, or nothing.
    let of_folder = namespace
        .strip_suffix(&folder.replace('/', "."))
        .is_some_and(|prefix| prefix.is_empty() || folder.is_empty() || prefix.ends_with('.'));
    if !of_folder {
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
    let (Ok(older), Ok(newer)) = (Schema::parse_str(older), Schema::parse_str(newer)) else {
        return false;
    };
    matches!(SchemaCompatibility::mutual_read(&older, &newer), Ok(Compatibility::Full))
}

#[cfg(test)]
mod tests;
