//! The platform's released schemas. To release new files:
//! `RELEASE_SCHEMAS=1 cargo test -p annals-schemas --test it released`.

#[test]
fn released_schemas_are_unchanged_and_keep_the_rules() {
    let found = annals_codegen::testing::faults(env!("CARGO_MANIFEST_DIR"), &annals_schemas::CATALOGUE);
    assert_eq!(found, [""; 0]);
}
