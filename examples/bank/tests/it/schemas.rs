//! A released schema never changes. To release a new one:
//! `RELEASE_SCHEMAS=1 cargo test -p bank released`.

#[test]
fn released_schemas_are_unchanged_and_keep_the_rules() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
    assert_eq!(annals_codegen::testing::faults(folder, &bank::events::CATALOGUE), [""; 0]);
}
