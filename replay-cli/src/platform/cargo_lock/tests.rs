use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

const LOCK: &str = r#"
version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = ["left 1.0.0", "left 2.0.0", "right"]

[[package]]
name = "left"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
dependencies = ["right"]

[[package]]
name = "left"
version = "2.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
dependencies = ["left 1.0.0", "right"]

[[package]]
name = "right"
version = "0.3.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
"#;

fn workspace() -> Uuid {
    Uuid::from_u128(7)
}

fn documents(inventory: &Inventory) -> Vec<Value> {
    inventory.commands(workspace()).map(|line| serde_json::from_str(&line.line).unwrap()).collect()
}

#[test]
fn packages_of_one_name_are_one_application_and_their_edges_are_merged() {
    let inventory = Inventory::parse(LOCK).unwrap();
    assert_eq!(inventory.counts(), Counts { applications: 3, releases: 4, edges: 3 });
    // app → left twice, left → right twice.
    assert_eq!(inventory.edges_merged, 2);
    assert_eq!(inventory.edges_to_itself, 1);
    assert_eq!(inventory.dependents("right"), ["app", "left"]);
}

#[test]
fn applications_come_before_releases_before_edges() {
    let types: Vec<String> = documents(&Inventory::parse(LOCK).unwrap())
        .iter()
        .map(|document| document["type"].as_str().unwrap().rsplit('.').next().unwrap().to_owned())
        .collect();
    let expected = ["register"; 3].into_iter().chain(["release_version"; 4]).chain(["declare"; 3]);
    assert!(types.iter().map(String::as_str).eq(expected), "{types:?}");
}

#[test]
fn every_command_has_an_id_of_its_own_and_the_same_one_each_time() {
    let inventory = Inventory::parse(LOCK).unwrap();
    let documents = documents(&inventory);
    let ids: BTreeSet<&str> = documents.iter().map(|d| d["client_request_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), documents.len());
    assert_eq!(documents, self::documents(&Inventory::parse(LOCK).unwrap()));
    let elsewhere = inventory.commands(Uuid::from_u128(8)).next().unwrap();
    assert!(!elsewhere.line.contains(documents[0]["client_request_id"].as_str().unwrap()));
}

#[test]
fn edges_point_at_the_applications_that_were_registered() {
    let documents = documents(&Inventory::parse(LOCK).unwrap());
    let id_of = |name: &str| documents.iter().find(|d| d["payload"]["name"] == name).unwrap()["aggregate_id"].clone();
    let edge = documents.iter().find(|d| d["type"] == "portfolio.dependency.declare").unwrap();
    assert_eq!(edge["payload"]["from_application_id"], id_of("app"));
    assert_eq!(edge["payload"]["to_application_id"], id_of("left"));
    assert_eq!(id_of("left"), application_id(workspace(), "left").to_string());
    assert_eq!(documents[0]["payload"].get("source"), None, "a package of the repository itself has no source");
    assert_eq!(documents[1]["payload"]["source"], "https://github.com/rust-lang/crates.io-index");
}

#[test]
fn this_repositorys_own_lock_file_is_read_whole() {
    let inventory = Inventory::parse(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"))).unwrap();
    let counts = inventory.counts();
    assert!(counts.applications > 200 && counts.releases >= counts.applications, "{counts:?}");
    assert_eq!(counts.commands(), inventory.commands(workspace()).count() as u64);
    assert!(!inventory.dependents("serde").is_empty());
}

/// The oldest form: the project apart, every dependency in full, checksums in a table of their own.
const OLDEST: &str = r#"
[root]
name = "project"
version = "0.1.0"
dependencies = [
 "left 1.0.0 (registry+https://github.com/rust-lang/crates.io-index)",
 "right 0.3.0 (registry+https://github.com/rust-lang/crates.io-index)",
]

[[package]]
name = "left"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
dependencies = [
 "right 0.3.0 (registry+https://github.com/rust-lang/crates.io-index)",
]

[[package]]
name = "right"
version = "0.3.0"
source = "registry+https://github.com/rust-lang/crates.io-index"

[metadata]
"checksum left 1.0.0 (registry+https://github.com/rust-lang/crates.io-index)" = "0000000000000000000000000000000000000000000000000000000000000000"
"#;

/// Applications, releases and edges of a lock file, counted without its parser: line by line.
fn counted_by_hand(text: &str) -> Counts {
    let (mut names, mut releases, mut edges) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut name = "";
    for line in text.lines().map(str::trim).take_while(|line| *line != "[metadata]" && *line != "[[patch.unused]]") {
        let quoted = line.split('"').nth(1).unwrap_or_default();
        if line.starts_with("name = ") {
            name = quoted;
            names.insert(name);
        } else if line.starts_with("version = \"") {
            releases.insert((name, quoted));
        } else if line.starts_with('"') {
            let to = quoted.split(' ').next().unwrap_or_default();
            if to != name {
                edges.insert((name, to));
            }
        }
    }
    let length = |length: usize| length as u64;
    Counts { applications: length(names.len()), releases: length(releases.len()), edges: length(edges.len()) }
}

#[test]
fn the_project_of_an_oldest_lock_file_is_counted_like_any_other() {
    let inventory = Inventory::parse(OLDEST).unwrap();
    assert_eq!(inventory.counts(), Counts { applications: 3, releases: 3, edges: 3 });
    assert_eq!(inventory.counts(), counted_by_hand(OLDEST));
    assert_eq!(inventory.dependents("right"), ["left", "project"]);
    let own = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    assert_eq!(Inventory::parse(own).unwrap().counts(), counted_by_hand(own));
}

#[test]
fn a_file_that_is_no_lock_file_of_cargo_is_refused() {
    let poetry = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndescription = \"\"\n";
    let other_tool = "version = 1\nrequires-python = \">=3\"\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n";
    let manifest = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let workspace = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    let plain_manifest = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n";
    for text in [
        "",
        "\n# a comment\n",
        "hello",
        "version = 4\n",
        "[[package]]\nname = \"a\"\n",
        "a = 1\n",
        poetry,
        other_tool,
        manifest,
        workspace,
        plain_manifest,
        "package = []",
        "[metadata]\na = \"b\"\n",
    ] {
        assert!(Inventory::parse(text).is_err(), "{text}");
    }
}
