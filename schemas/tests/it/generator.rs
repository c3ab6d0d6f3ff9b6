//! What the generator refuses: a mistake stops the build, and not a reader years later.

use std::path::Path;

use serde_json::{Value, json};

use crate::files::package;

#[allow(dead_code, reason = "the build script's modules; tests need a part of them")]
#[path = "../../build"]
mod build {
    pub(super) mod code;
    pub(super) mod discover;
    mod enums;
    mod payload;
    mod schema;
    mod version;
}

/// The generated code, or why there is none, of a package with these files.
fn generate<C: AsRef<[u8]>>(files: &[(&str, C)]) -> Result<String, String> {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("engine")).unwrap();
    std::fs::copy(package().join("envelope.avsc"), root.path().join("envelope.avsc")).unwrap();
    for (path, content) in files {
        let path = root.path().join("things/thing").join(Path::new(path));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    build::code::generate(&build::discover::discover(root.path())?)
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
    assert!(code.contains("crate::things::thing::v1::r0::Size::Big => crate::things::thing::Size::Big"));
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
    assert_eq!(code.matches("v2::Made = crate::Upcast::upcast(event)").count(), 1);
    assert_eq!(code.matches("v3::Made = crate::Upcast::upcast(event)").count(), 2);
}
