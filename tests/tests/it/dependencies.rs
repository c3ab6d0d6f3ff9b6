//! Every library has a line of reason, and none is listed that nobody uses.

use std::collections::BTreeSet;

use cargo_metadata::MetadataCommand;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Names of the libraries that any of our packages depends on, for whatever purpose.
fn used() -> BTreeSet<String> {
    let metadata = MetadataCommand::new()
        .manifest_path(format!("{ROOT}/Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .no_deps()
        .exec()
        .unwrap();
    let libraries = metadata.packages.iter().flat_map(|package| &package.dependencies);
    libraries.filter(|library| library.path.is_none()).map(|library| library.name.clone()).collect()
}

/// First column of the table in docs/dependencies.md.
fn explained(document: &str) -> BTreeSet<String> {
    document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Keys of `[workspace.dependencies]` that are no package of ours.
fn shared(manifest: &str) -> BTreeSet<String> {
    manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("annals-"))
        .collect()
}

#[test]
fn every_library_has_its_reason_and_its_user() {
    let read = |path| std::fs::read_to_string(format!("{ROOT}/{path}")).unwrap();
    let used = used();
    assert_eq!(explained(&read("docs/dependencies.md")), used, "docs/dependencies.md");
    assert_eq!(shared(&read("Cargo.toml")), used, "[workspace.dependencies]");
}

#[test]
fn a_library_without_a_reason_is_seen() {
    assert_eq!(explained("| library | why |\n| `serde` | JSON |\ntext `tokio`"), BTreeSet::from(["serde".to_owned()]));
    assert_eq!(
        shared("[a]\nx = 1\n[workspace.dependencies]\nannals-model = 1\nserde = 1\n[b]\ny = 1"),
        BTreeSet::from(["serde".to_owned()])
    );
}
