//! What is a build made of? No binary can make a mistake on purpose, or holds what only tests need, but those that this
//! package builds for itself; and one that works on files alone is made without the libraries for anything else.

use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{MetadataCommand, Package, Target};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// For tests: mistakes on purpose; contracts, test logs and test stores.
const FEATURES: [&str; 2] = ["annals-engine feature \"seeded-bugs\"", "annals-engine feature \"testing\""];

/// What cargo says.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).current_dir(ROOT).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Features of the engine in a build of these packages; of the default ones, if none is named.
fn engine_features(packages: &[&str]) -> String {
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let tree = ["tree", "--locked", "--edges", "normal,features", "--invert", "annals-engine"];
    cargo(&tree.into_iter().chain(packages).collect::<Vec<_>>())
}

#[test]
fn no_binary_is_built_with_mistakes_on_purpose_unless_this_package_is_built_with_it() {
    nothing_is_built_with(FEATURES[0]);
}

#[test]
fn no_binary_is_built_with_what_only_tests_need_unless_this_package_is_built_with_it() {
    nothing_is_built_with(FEATURES[1]);
}

/// Files below a folder that ask for a mistake on purpose, or for a place where a test may stop a process.
fn mistaken(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| match path.is_dir() {
        true => mistaken(&path),
        false if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("::seeded::")) => vec![path],
        false => Vec::new(),
    };
    entries.flat_map(of).collect()
}

/// The module of mistakes is not there without the feature, so whoever else asks for one does not compile.
#[test]
fn mistakes_on_purpose_are_made_in_files_of_their_own() {
    let files: Vec<_> = ["core", "projectors", "api", "replay-cli", "aggregates", "schemas"]
        .iter()
        .flat_map(|folder| mistaken(&Path::new(ROOT).join(folder)))
        .collect();
    // The check sees what it looks for where it is.
    assert!(files.len() >= 7, "{files:?}");
    let elsewhere: Vec<_> = files.iter().filter(|file| !file.ends_with("mistakes.rs")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

fn nothing_is_built_with(feature: &str) {
    for packages in [&[][..], &["annals-cli"], &["annals-api"], &["annals-projectors"], &["annals-bench"]] {
        let features = engine_features(packages);
        assert!(features.contains("annals-engine"), "{packages:?} are built without the engine");
        assert!(!features.contains(feature), "{packages:?} are built with {feature}:\n{features}");
    }
    // The check sees what it looks for where it is.
    assert!(engine_features(&["annals-tests"]).contains(feature));
}

/// Those of `names` that a build of `annals` with these arguments is made with.
fn made_with<'a>(names: &[&'a str], arguments: &[&str]) -> Vec<&'a str> {
    let tree = ["tree", "--locked", "--package", "annals-cli", "--edges", "normal,build", "--prefix", "none"];
    let tree = cargo(&[&tree, arguments].concat());
    assert!(tree.contains("sqlx-sqlite "), "{tree}");
    names.iter().copied().filter(|name| tree.lines().any(|line| line.starts_with(&format!("{name} ")))).collect()
}

#[test]
fn a_build_for_files_alone_has_no_library_for_kafka_or_postgres_and_a_production_build_starts_no_servers() {
    let servers = ["annals-dev", "rdkafka", "rdkafka-sys", "sqlx-postgres"];
    assert_eq!(made_with(&servers, &["--no-default-features", "--features", "platform"]), [""; 0]);
    assert_eq!(made_with(&servers, &["--no-default-features", "--features", "platform,kafka,postgres"]), servers[1..]);
    // A tool of another application has nothing of the platform's.
    let domain = ["annals-platform", "annals-aggregates", "annals-schemas", "cargo-lock"];
    assert_eq!(made_with(&domain, &["--no-default-features", "--features", "kafka"]), [""; 0]);
    assert_eq!(made_with(&domain, &[]), domain);
    // Whoever says nothing gets all of it, `annals dev` as well.
    assert_eq!(made_with(&servers, &[]), servers);
}

/// Binaries that need a feature of their package that these arguments of cargo do not give, of packages that they name:
/// cargo leaves them out without a word.
fn left_out(arguments: &str) -> Vec<String> {
    let named =
        |flag| arguments.split_whitespace().zip(arguments.split_whitespace().skip(1)).filter(move |(f, _)| *f == flag);
    let features: Vec<&str> = named("--features").flat_map(|(_, list)| list.split(',')).collect();
    let metadata = MetadataCommand::new().current_dir(ROOT).no_deps().exec().unwrap();
    let packages =
        metadata.packages.iter().filter(|package| named("-p").any(|(_, name)| package.name.as_str() == name));
    let targets = packages.flat_map(|package| package.targets.iter().map(move |target| (package, target)));
    let lacks = |(package, target): &(&Package, &Target)| {
        target.required_features.iter().any(|one| !features.contains(&format!("{}/{one}", package.name).as_str()))
    };
    targets.filter(lacks).map(|(_, target)| target.name.clone()).collect()
}

#[test]
fn the_image_is_built_with_every_binary_that_it_copies() {
    let file = std::fs::read_to_string(format!("{ROOT}/deploy/Containerfile")).unwrap();
    let build = file.replace("\\\n", " ");
    let build = build.lines().find(|line| line.contains("cargo build")).unwrap();
    assert_eq!(left_out(build), [""; 0]);
    assert_eq!(left_out(&build.replace("annals-api/kafka", "annals-api/postgres")), ["annals-api"]);
}

#[test]
fn a_build_for_files_alone_compiles() {
    cargo(&[
        "check",
        "--locked",
        "--quiet",
        "--package",
        "annals-cli",
        "--no-default-features",
        "--features",
        "platform",
    ]);
}
