//! What the generator refuses: a mistake stops the build, and not a reader years later.

use serde_json::{Value, json};

use crate::{code, discover};

/// The generated code, or why there is none, of a folder with these files.
fn generate<C: AsRef<[u8]>>(files: &[(&str, C)]) -> Result<String, String> {
    generate_with(&[("things", 1)], files)
}

fn generate_with<C: AsRef<[u8]>>(contexts: &[(&str, u8)], files: &[(&str, C)]) -> Result<String, String> {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join("things/thing").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    code::generate(&discover::discover(root.path())?, contexts)
}

fn made(fields: Value) -> String {
    json!({"type": "record", "name": "Made", "doc": "Made.", "event_type": "thing.made", "fields": fields}).to_string()
}

fn field(name: &str, ty: Value) -> Value {
    json!({"name": name, "type": ty, "doc": "What."})
}

fn size(symbols: Value) -> Value {
    json!({"type": "enum", "name": "Size", "doc": "How big.", "symbols": symbols, "default": "small"})
}

fn refusal<C: AsRef<[u8]>>(files: &[(&str, C)]) -> String {
    generate(files).expect_err("the generator refuses this")
}

#[test]
fn two_files_with_one_schema_id_are_refused() {
    // Found by search: the first 31 bits of their SHA-256 are equal.
    let file = |name: &str, event_type: &str, doc: u32| {
        format!(r#"{{"type":"record","name":"{name}","doc":"{doc}","event_type":"{event_type}","fields":[]}}"#)
    };
    let lost = file("Lost", "thing.lost", 18_837);
    let collision = [("thing.lost.v1.avsc", lost.clone()), ("thing.made.v1.avsc", file("Made", "thing.made", 29_918))];
    assert!(refusal(&collision).contains("have the same schema id"));
    assert!(generate(&[("thing.lost.v1.avsc", lost), ("thing.made.v1.avsc", file("Made", "thing.made", 1))]).is_ok());
}

#[test]
fn a_hole_in_the_versions_is_refused() {
    let file = made(json!([]));
    for (paths, missing) in [
        (["thing.made.v1.avsc", "thing.made.v1.2.avsc"], "version 1.1 before it is missing"),
        (["thing.made.v1.avsc", "thing.made.v3.avsc"], "version 1.1 before it is missing"),
        (["thing.made.v2.avsc", "thing.made.v2.1.avsc"], "version 1.0 before it is missing"),
        (["thing.made.v1.1.avsc", "thing.made.v1.2.avsc"], "version 1.0 before it is missing"),
    ] {
        let error = refusal(&paths.map(|path| (path, &file)));
        assert!(error.contains(missing), "{error}");
    }
}

#[test]
fn a_name_that_disagrees_with_its_content_is_refused() {
    let file = made(json!([]));
    for (path, complaint) in [
        ("thing.built.v1.avsc", "its event_type says"),
        ("thing.made.avsc", "name is not"),
        ("thing.made.v0.avsc", "name is not"),
        ("thing.made.v1.0.avsc", "name is not"),
        ("thing.made.v01.avsc", "name is not"),
    ] {
        assert!(refusal(&[(path, &file)]).contains(complaint), "{path}");
    }
    assert!(
        refusal(&[("thing.made.v1.avsc", &file), ("../other/thing.made.v1.avsc", &file)]).contains("same schema id")
    );
    let other = file.replace("Made.", "Made elsewhere.");
    assert!(refusal(&[("thing.made.v1.avsc", &file), ("../other/thing.made.v1.avsc", &other)]).contains("is in"));
}

#[test]
fn types_that_have_no_codec_are_refused() {
    for ty in [
        json!("float"),
        json!({"type": "array", "items": "string"}),
        json!(["null", "string", "long"]),
        json!(["string", "null"]),
        json!({"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}),
        json!({"type": "enum", "name": "Size", "doc": "No default.", "symbols": ["small"]}),
    ] {
        let error = refusal(&[("thing.made.v1.avsc", made(json!([field("what", ty.clone())])))]);
        assert!(error.contains("a type that the generator does not know"), "{ty}: {error}");
    }
}

#[test]
fn a_revision_that_cannot_be_carried_forward_is_refused() {
    let first = made(json!([field("what", json!("int"))]));
    for second in
        [json!([field("what", json!("long"))]), json!([field("what", json!("int")), field("more", json!("string"))])]
    {
        let error = refusal(&[("thing.made.v1.avsc", first.clone()), ("thing.made.v1.1.avsc", made(second))]);
        assert!(error.contains("make it a new major version"), "{error}");
    }
}

#[test]
fn a_revision_with_more_symbols_reads_the_older_ones_by_name() {
    let older = made(json!([field("size", size(json!(["small", "big"])))]));
    let newer = made(json!([field("size", size(json!(["small", "big", "huge"])))]));
    let code = generate(&[("thing.made.v1.avsc", older), ("thing.made.v1.1.avsc", newer)]).unwrap();
    assert!(code.contains("self::v1::r0::Size::Big => self::Size::Big"));
}

#[test]
fn two_events_of_an_aggregate_share_an_enum_only_if_it_is_the_same() {
    let lost = |symbols| {
        made(json!([field("size", size(symbols))])).replace("thing.made", "thing.lost").replace("\"Made\"", "\"Lost\"")
    };
    let made = made(json!([field("size", size(json!(["small", "big"])))]));
    let files = |symbols| [("thing.made.v1.avsc", made.clone()), ("thing.lost.v1.avsc", lost(symbols))];
    assert!(generate(&files(json!(["small", "big"]))).is_ok());
    assert!(refusal(&files(json!(["small", "tiny"]))).contains("an enum Size with other symbols"));
}

#[test]
fn every_major_version_but_the_newest_is_carried_on_by_its_upcaster() {
    let file = |doc| made(json!([])).replace("Made.", doc);
    let majors =
        [("thing.made.v1.avsc", file("1")), ("thing.made.v2.avsc", file("2")), ("thing.made.v3.avsc", file("3"))];
    let code = generate(&majors).unwrap();
    // From 1 by two steps, from 2 by one.
    assert_eq!(code.matches("v2::Made = ::annals_model::event::Upcast::upcast(event)").count(), 1);
    assert_eq!(code.matches("v3::Made = ::annals_model::event::Upcast::upcast(event)").count(), 2);
}

#[test]
fn a_context_without_a_number_or_with_that_of_another_is_refused() {
    let files = [("thing.made.v1.avsc", made(json!([])))];
    let refusal = |contexts| generate_with(contexts, &files).expect_err("the generator refuses this");
    assert!(refusal(&[]).contains("context things has no number"));
    assert!(refusal(&[("others", 1), ("things", 2)]).contains("context others has number 1 and no events"));
    assert!(refusal(&[("things", 2), ("things", 2)]).contains("2 is too low or taken"));
    assert!(generate_with(&[("things", 2)], &files).unwrap().contains("number: 2, name: \"things\""));
    let engine = [("../../engine/thing/thing.made.v1.avsc", made(json!([])))];
    assert!(generate_with(&[("engine", 1)], &engine).expect_err("taken").contains("cannot have the name engine"));
}

#[test]
fn paths_are_relative_to_the_module_that_they_stand_in() {
    for (from, to, path) in [
        ("a::b", "a::b", "self"),
        ("a::b", "a::b::v1::r0", "self::v1::r0"),
        ("a::b::v1::r0", "a::b", "super::super"),
        ("a::b::v1", "a::b::v2", "super::v2"),
    ] {
        assert_eq!(crate::enums::relative(from, to), path);
    }
}
