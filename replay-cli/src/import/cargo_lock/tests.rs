use std::collections::BTreeSet;

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

#[test]
fn a_file_that_is_no_lock_file_is_refused() {
    assert!(Inventory::parse("hello").is_err());
    assert!(Inventory::parse("[[package]]\nname = \"a\"\n").is_err());
}
