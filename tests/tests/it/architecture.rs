//! Dependencies point one way, the domain sees nothing that could do I/O, and ARCHITECTURE.md leads to every folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use annals_model::context::BoundedContext;
use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, PackageId};

/// Package → what it may depend on among ours; for tests as well, but for the packages named in `FOR_TESTS`.
const ARROWS: &[(&str, &[&str])] = &[
    ("annals-model", &[]),
    ("annals-codegen", &[]),
    ("annals-schemas", &["annals-model"]),
    ("annals-aggregates", &["annals-model", "annals-schemas"]),
    ("annals-engine", &["annals-model"]),
    ("annals-read-models", &["annals-model", "annals-schemas"]),
    ("annals-stores", &["annals-model", "annals-engine"]),
    ("annals-platform", &["annals-model", "annals-schemas", "annals-aggregates", "annals-read-models"]),
    ("annals-projectors", &["annals-model", "annals-engine", "annals-stores"]),
    ("annals-api", &["annals-model", "annals-engine", "annals-stores", "annals-projectors"]),
    (
        "annals-cli",
        &["annals-model", "annals-engine", "annals-stores", "annals-projectors", "annals-api", "annals-dev"],
    ),
    ("annals-dev", &[]),
    ("bank", &["annals-model", "annals-cli"]),
    (
        "annals-tests",
        &[
            "annals-model",
            "annals-engine",
            "annals-schemas",
            "annals-aggregates",
            "annals-platform",
            "annals-stores",
            "annals-projectors",
            "annals-api",
            "annals-dev",
        ],
    ),
    (
        "annals-bench",
        &[
            "annals-model",
            "annals-engine",
            "annals-schemas",
            "annals-aggregates",
            "annals-platform",
            "annals-stores",
            "annals-projectors",
            "annals-api",
            "annals-dev",
        ],
    ),
];

/// Arrows besides: of dev-dependencies, and of those behind a feature, as binaries of the platform are.
const FOR_TESTS: &[(&str, &str)] = &[
    ("bank", "annals-codegen"),
    ("annals-codegen", "annals-model"),
    ("annals-schemas", "annals-codegen"),
    ("annals-read-models", "annals-aggregates"),
    ("annals-read-models", "annals-engine"),
    ("annals-read-models", "annals-stores"),
    ("annals-read-models", "annals-dev"),
    ("annals-stores", "annals-aggregates"),
    ("annals-stores", "annals-read-models"),
    ("annals-stores", "annals-schemas"),
    ("annals-stores", "annals-dev"),
    ("annals-projectors", "annals-aggregates"),
    ("annals-projectors", "annals-dev"),
    ("annals-projectors", "annals-platform"),
    ("annals-api", "annals-dev"),
    ("annals-api", "annals-aggregates"),
    ("annals-api", "annals-platform"),
    ("annals-api", "annals-read-models"),
    ("annals-api", "annals-schemas"),
    ("annals-cli", "annals-platform"),
    ("annals-cli", "annals-schemas"),
];

/// Arrows of build scripts: nothing of what they point at is in the package that is built.
const IN_BUILD_SCRIPTS: [(&str, &str); 2] = [("annals-schemas", "annals-codegen"), ("bank", "annals-codegen")];

/// Packages whose purity is the point, and what they must not reach by any path.
const PURE: [&str; 4] = ["annals-model", "annals-schemas", "annals-aggregates", "annals-read-models"];
const IMPURE: [&str; 9] = ["tokio", "sqlx", "sqlx-core", "axum", "hyper", "reqwest", "rdkafka", "mio", "socket2"];

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn metadata() -> Metadata {
    let manifest = format!("{ROOT}/Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).other_options(["--locked".to_owned()]).exec().unwrap()
}

/// What a dependency is there for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Anywhere,
    ForTests,
    InBuildScript,
}

impl Use {
    fn of(dependency: &Dependency) -> Self {
        match dependency.kind {
            DependencyKind::Development => Self::ForTests,
            DependencyKind::Build => Self::InBuildScript,
            _ if dependency.optional => Self::ForTests,
            _ => Self::Anywhere,
        }
    }
}

/// Arrows that are not allowed, as `from → to`.
fn forbidden(arrows: &BTreeSet<(String, String, Use)>) -> Vec<String> {
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    arrows
        .iter()
        .filter(|(from, to, used)| {
            let listed = allowed.get(from.as_str()).is_some_and(|to_list| to_list.contains(&to.as_str()));
            let arrow = (from.as_str(), to.as_str());
            let besides = match used {
                Use::Anywhere => false,
                Use::ForTests => FOR_TESTS.contains(&arrow),
                Use::InBuildScript => IN_BUILD_SCRIPTS.contains(&arrow),
            };
            !(listed || besides || from == to)
        })
        .map(|(from, to, _)| format!("{from} → {to}"))
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let ours: BTreeSet<_> = metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    assert_eq!(ours, ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect(), "a package without its arrows");
    let arrows = metadata
        .workspace_packages()
        .iter()
        .flat_map(|package| package.dependencies.iter().map(|to| (package.name.to_string(), to)))
        .filter(|(_, to)| ours.contains(&to.name))
        .map(|(from, to)| (from, to.name.clone(), Use::of(to)))
        .collect();
    assert_eq!(forbidden(&arrows), Vec::<String>::new());
}

#[test]
fn an_arrow_against_the_direction_is_caught() {
    let seeded = BTreeSet::from([
        ("annals-engine".to_owned(), "annals-schemas".to_owned(), Use::Anywhere),
        ("annals-aggregates".to_owned(), "annals-engine".to_owned(), Use::ForTests),
        ("annals-read-models".to_owned(), "annals-stores".to_owned(), Use::Anywhere),
        ("annals-projectors".to_owned(), "annals-aggregates".to_owned(), Use::Anywhere),
        ("annals-projectors".to_owned(), "annals-aggregates".to_owned(), Use::ForTests),
        ("annals-schemas".to_owned(), "annals-codegen".to_owned(), Use::Anywhere),
        ("annals-schemas".to_owned(), "annals-codegen".to_owned(), Use::InBuildScript),
    ]);
    let named = [
        "annals-aggregates → annals-engine",
        "annals-engine → annals-schemas",
        "annals-projectors → annals-aggregates",
        "annals-read-models → annals-stores",
        "annals-schemas → annals-codegen",
    ];
    assert_eq!(forbidden(&seeded), named);
}

#[test]
fn the_domain_reaches_nothing_that_does_io() {
    let metadata = metadata();
    let names: BTreeMap<&PackageId, &str> = metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
    let graph: BTreeMap<&PackageId, Vec<&PackageId>> = metadata
        .resolve
        .as_ref()
        .unwrap()
        .nodes
        .iter()
        .map(|node| {
            let normal = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal))
                .map(|dep| &dep.pkg);
            (&node.id, normal.collect())
        })
        .collect();
    let reached = |root: &str| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<_> = names.iter().filter(|(_, name)| **name == root).map(|(id, _)| *id).collect();
        while let Some(id) = next.pop() {
            if seen.insert(id) {
                next.extend(&graph[id]);
            }
        }
        seen.into_iter().map(|id| names[id]).collect::<BTreeSet<_>>()
    };
    for root in PURE {
        let impure: Vec<_> = reached(root).into_iter().filter(|name| IMPURE.contains(name)).collect();
        assert_eq!(impure, Vec::<&str>::new(), "{root} must stay pure");
    }
    // The check sees what it looks for where it is allowed.
    assert!(reached("annals-engine").contains("tokio"));
}

/// What serves any application, and the binaries and verbs of the platform beside it.
const MACHINERY: [(&str, &[&str]); 5] = [
    ("core/engine/src", &[]),
    ("projectors/stores/src", &[]),
    ("projectors/src", &["bin"]),
    ("api/src", &["bin"]),
    ("replay-cli/src", &["platform"]),
];

/// How a domain can be named in code: by its packages, and by the names of its contexts where they are names.
fn domain_words() -> Vec<String> {
    let packages = ["schemas", "aggregates", "read_models", "platform"].map(|package| format!("annals_{package}"));
    let names = |context: &BoundedContext| {
        let name = context.id().name;
        let kinds = context.aggregates().map(move |kind| format!("{name}.{}", kind.aggregate_type()));
        kinds.chain([format!("\"{name}\""), format!("\"{name}."), format!("{name}/0")]).collect::<Vec<_>>()
    };
    packages.into_iter().chain(annals_platform::application().contexts.iter().flat_map(names)).collect()
}

/// Lines that say one of these words, in all that is no test.
fn saying(words: &[String], text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| words.iter().any(|word| line.contains(word.as_str()))).map(str::to_owned).collect()
}

#[test]
fn the_machinery_names_nothing_of_the_platforms_domain() {
    let (words, mut said, mut files) = (domain_words(), Vec::new(), 0);
    for (folder, without) in MACHINERY {
        let root = Path::new(ROOT).join(folder);
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = entry.file_name().unwrap().to_str().unwrap();
                let is_left_out = without.iter().any(|left_out| entry == root.join(left_out));
                if name.starts_with("tests") || name == "testing" || is_left_out {
                    continue;
                }
                if entry.is_dir() {
                    folders.push(entry);
                } else if name.ends_with(".rs") {
                    files += 1;
                    let text = std::fs::read_to_string(&entry).unwrap();
                    said.extend(saying(&words, &text).into_iter().map(|line| format!("{}: {line}", entry.display())));
                }
            }
        }
    }
    assert_eq!(said, Vec::<String>::new());
    assert!(files > 200, "{files}");
}

#[test]
fn a_word_of_the_domain_is_seen_where_it_is_no_test() {
    let text = "use annals_schemas::contexts::ACCESS;\nlet access = 1;\nget(\"portfolio.applications\")\n\
                #[cfg(test)]\nmod tests {\n\"portfolio\"";
    let said = ["use annals_schemas::contexts::ACCESS;", "get(\"portfolio.applications\")"];
    assert_eq!(saying(&domain_words(), text), said);
}

/// The folders at the top of the repository, without those that git ignores and what tools keep there for themselves.
fn top_folders(ignored: &str) -> BTreeSet<String> {
    let is_ignored = |name: &str| {
        ignored.lines().map(|line| line.trim_matches('/')).any(|pattern| match pattern.split_once('*') {
            Some((start, end)) => name.starts_with(start) && name.ends_with(end),
            None => name == pattern,
        })
    };
    let entries = std::fs::read_dir(ROOT).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let names = folders.map(|folder| folder.file_name().into_string().unwrap());
    names.filter(|name| (name == ".ci" || !name.starts_with('.')) && !is_ignored(name)).collect()
}

/// Each package with its folder.
fn package_folders() -> BTreeMap<String, String> {
    let metadata = metadata();
    let folder = |manifest: &Path| {
        let folder = manifest.parent().unwrap().strip_prefix(&metadata.workspace_root).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    let packages = metadata.workspace_packages();
    packages.iter().map(|package| (package.name.to_string(), folder(package.manifest_path.as_std_path()))).collect()
}

fn rows(document: &str) -> impl Iterator<Item = &str> {
    document.lines().filter(|line| line.starts_with('|'))
}

/// What no row of the document's tables names: folders, and packages beside their folders.
fn unmapped(document: &str, folders: &BTreeSet<String>, packages: &BTreeMap<String, String>) -> Vec<String> {
    let folders = folders.iter().filter(|folder| {
        let folder = format!("`{folder}/");
        !rows(document).any(|row| row.contains(&folder))
    });
    let packages = packages.iter().filter(|(name, folder)| {
        let (name, folder) = (format!("`{name}`"), format!("`{folder}/`"));
        !rows(document).any(|row| row.contains(&name) && row.contains(&folder))
    });
    folders.chain(packages.map(|(name, _)| name)).cloned().collect()
}

/// Folders that the document's tables name, and that are not there.
fn lost(document: &str) -> Vec<&str> {
    let named = rows(document).flat_map(|row| row.split('`').skip(1).step_by(2));
    named.filter(|name| name.ends_with('/') && !name.contains('<') && !Path::new(ROOT).join(name).is_dir()).collect()
}

#[test]
fn every_folder_and_every_package_stands_in_the_map_and_the_map_leads_to_folders() {
    let read = |path| std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let (document, folders) = (read("ARCHITECTURE.md"), top_folders(&read(".gitignore")));
    assert!(folders.contains("core") && !folders.contains("target"), "{folders:?}");
    assert_eq!(unmapped(&document, &folders, &package_folders()), [""; 0]);
    assert_eq!(lost(&document), [""; 0]);
}

#[test]
fn a_folder_and_a_package_that_no_row_names_are_seen() {
    let document = "`deploy/` is in no table\n| what | where |\n|---|---|\n| words | `core/model/` (`annals-model`) |\n\
         | engine | `core/engine/` |\n| gone | `core/nothing/`, `core/<any>/` |";
    let folders = ["core", "deploy"].map(str::to_owned).into();
    let packages = ["engine", "model"].map(|name| (format!("annals-{name}"), format!("core/{name}"))).into();
    assert_eq!(unmapped(document, &folders, &packages), ["deploy", "annals-engine"]);
    assert_eq!(lost(document), ["core/nothing/"]);
}
