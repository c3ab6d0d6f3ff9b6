//! Which binaries could make a mistake on purpose, or hold what only tests need? Only those that this package builds for
//! itself.

use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// For tests: mistakes on purpose; contracts, test logs and test stores.
const FEATURES: [&str; 2] = ["annals-engine feature \"seeded-bugs\"", "annals-engine feature \"testing\""];

/// Features of the engine in a build of these packages; of the default ones, if none is named.
fn engine_features(packages: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(ROOT).args(["tree", "--locked", "--edges", "normal,features", "--invert", "annals-engine"]);
    packages.iter().for_each(|package| _ = command.args(["--package", package]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn no_binary_is_built_with_mistakes_on_purpose_unless_this_package_is_built_with_it() {
    nothing_is_built_with(FEATURES[0]);
}

#[test]
fn no_binary_is_built_with_what_only_tests_need_unless_this_package_is_built_with_it() {
    nothing_is_built_with(FEATURES[1]);
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
