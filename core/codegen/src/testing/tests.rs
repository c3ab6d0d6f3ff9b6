use serde_json::{Value, json};

use super::*;

/// What is found in a folder with two revisions of one event: `fields` of the second, beside a number in both.
fn found(namespace: &str, more: Value) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("things/thing");
    std::fs::create_dir_all(&events).unwrap();
    let number = json!({"name": "number", "type": "long", "doc": "How many."});
    for (file, fields) in [("thing.made.v1.avsc", vec![number.clone()]), ("thing.made.v1.1.avsc", vec![number, more])] {
        let schema = json!({
            "type": "record", "name": "Made", "namespace": namespace, "doc": "Made.", "event_type": "thing.made", "fields": fields,
        });
        std::fs::write(events.join(file), schema.to_string()).unwrap();
    }
    let found = faults(folder.path(), &SchemaCatalogue::new(&[]));
    found.into_iter().filter(|fault| !fault.contains("is not released")).collect()
}

#[test]
fn an_applications_folder_is_held_to_the_rules_by_itself_and_over_revisions() {
    let note = |default: &str| json!({"name": "note", "type": "string", "default": default, "doc": "Why."});
    assert_eq!(found("things.thing", note("")), [""; 0]);
    assert_eq!(found("shop.things.thing", note("")), [""; 0], "an application's own prefix");
    assert_eq!(found("shop.things", note("")).len(), 2, "the namespace of both");
    let mut without = note("");
    without.as_object_mut().unwrap().remove("default");
    let file = "things/thing/thing.made.v1.1.avsc";
    assert_eq!(
        found("things.thing", without),
        [
            format!("{file}: new field \"note\" has no default"),
            format!("{file}: cannot read all that things/thing/thing.made.v1.avsc wrote, or be read by it"),
        ]
    );
}

#[test]
fn files_that_nobody_released_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let found = faults(folder.path(), &SchemaCatalogue::new(&[]));
    for (fault, file) in found.iter().zip(["engine/accepted.v1.avsc", "engine/claim.v1.avsc", "envelope.avsc"]) {
        assert!(fault.starts_with(&format!("{file} is not released")), "{fault}");
    }
    assert_eq!(found.len(), 3, "what came with the engine is a part of every log");
}
