use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use annals_aggregates::testing::golden::Golden;
use annals_model::aggregate::ScopeKind;
use annals_model::read_model::newest;
use annals_stores::testing::{History, Rows, id, scope};

use super::*;

mod domain;

#[tokio::test]
async fn every_version_has_the_tables_that_its_definition_says() {
    for definition in definitions() {
        // Opening compares tables, columns, types and keys with the definition; before it, the index statements ran.
        let rows = Rows::of(&definition, &history(&recorded_of(&definition))).await;
        assert_eq!(rows.live.generation.version, definition.model.version());
    }
}

#[test]
fn versions_of_a_read_model_ascend_and_the_newest_is_known() {
    let definitions = definitions();
    let named: Vec<_> = definitions.iter().map(|one| (one.model.name(), one.model.version())).collect();
    assert!(named.is_sorted() && named.windows(2).all(|pair| pair[0] != pair[1]), "{named:?}");
    let newest: Vec<_> = newest(&definitions).map(|one| (one.model.name(), one.model.version())).collect();
    let last_of_each: Vec<_> = named.chunk_by(|a, b| a.0 == b.0).map(|versions| versions[versions.len() - 1]).collect();
    assert_eq!(newest, last_of_each);
    assert!(newest.len() < named.len(), "a read model has more than one version");
}

/// The rows of the aggregates' golden histories, pinned. Where they change, the version must: a generation built by the old
/// code would otherwise pass for one of the new. `ANNALS_GOLDEN=record cargo test -p annals-read-models golden` writes the
/// files of a version that has none; a file that exists is never written again. Its first line says how many histories of
/// each aggregate it covers, since more are recorded with every new event.
#[test]
fn golden_rows_of_every_version_are_what_they_were_when_it_was_made() {
    let mut expected = Vec::new();
    for definition in definitions() {
        let path = path(&definition);
        let pinned = recorded(&path, || golden(&definition, &recorded_of(&definition)));
        let rows = golden(&definition, &covered(&pinned));
        let name = path.display();
        assert!(pinned == rows, "{name}: other rows; give them a new version\nwas:\n{pinned}\nis:\n{rows}");
        expected.push(path);
    }
    assert_eq!(left_behind(&golden_rows(), &expected), [""; 0], "a version that is retired takes its file with it");
}

#[test]
fn golden_rows_of_the_newest_versions_cover_every_event_that_they_apply() {
    for definition in newest(&definitions()) {
        let history = history(&covered(&recorded(&path(definition), || golden(definition, &recorded_of(definition)))));
        let of = |schema| annals_schemas::CATALOGUE.get(schema).unwrap().event_type;
        for event in definition.model.event_types().map(|event| event.event_type) {
            assert!(history.schemas().any(|schema| of(schema) == event), "{event}: record its golden history first");
        }
    }
}

#[test]
fn golden_rows_tell_a_changed_history_apart() {
    for definition in definitions() {
        let all = history(&recorded_of(&definition));
        let of = |schema| annals_schemas::CATALOGUE.get(schema).unwrap().event_type;
        let is_applied = |event| definition.model.event_types().any(|applied| applied.event_type == event);
        let schemas: Vec<_> = all.schemas().collect();
        let less = all.first(schemas.into_iter().rposition(|schema| is_applied(of(schema))).unwrap());
        assert_ne!(rows(&definition, &all), rows(&definition, &less));
    }
}

#[test]
fn a_golden_file_that_no_version_makes_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let [kept, lost] = ["access.v1.txt", "access.v0.txt"].map(|name| folder.path().join(name));
    [&kept, &lost].into_iter().for_each(|path| std::fs::write(path, "").unwrap());
    assert_eq!(left_behind(folder.path(), &[kept]), ["access.v0.txt"]);
}

/// The DDL of every version, pinned like its rows: a generation that was made by it is there, and its tables stay as they
/// are.
#[test]
fn golden_ddl_of_every_version_is_what_it_was_when_it_was_made() {
    let mut expected = Vec::new();
    for definition in definitions() {
        let (name, version) = (definition.model.name(), definition.model.version());
        let path = migrations().join(name).join(format!("v{version}.sql"));
        let pinned = recorded(&path, || annals_stores::sinks::ddl(&definition.model));
        let ddl = annals_stores::sinks::ddl(&definition.model);
        assert!(
            pinned == ddl,
            "{name} v{version} has other tables; give them a new version\nwas:\n{pinned}\nis:\n{ddl}"
        );
        expected.push(path);
    }
    let folders = std::fs::read_dir(migrations()).unwrap().map(|folder| folder.unwrap().path());
    let lost: Vec<String> = folders.flat_map(|folder| left_behind(&folder, &expected)).collect();
    assert_eq!(lost, [""; 0], "a version that is retired takes its file with it");
}

/// One column less, one index less, another name: each shows.
#[test]
fn golden_ddl_tells_changed_tables_apart() {
    use crate::portfolio::Applications;
    let newest = || crate::portfolio::definitions().pop().unwrap().model;
    let ddl = annals_stores::sinks::ddl(&newest());
    let tables = || {
        annals_model::projection::ReadModel::new("portfolio", newest().version(), &annals_schemas::CATALOGUE)
            .table::<Applications>()
    };
    let applications = annals_stores::sinks::ddl(&tables());
    assert!(ddl.contains("source text,\n") && ddl.contains("INDEX applications_by_project ON"));
    let without = annals_stores::sinks::ddl(&tables().without::<Applications>(&["source"]));
    assert_eq!(without, applications.replace("    source text,\n", ""));
    // An index goes with a column of it.
    let without = annals_stores::sinks::ddl(&tables().without::<Applications>(&["project_id"]));
    assert!(!without.contains("project_id") && !without.contains("applications_by_project"));
    let without = annals_stores::sinks::ddl(&tables().without_indexes::<Applications>(&["by_project"]));
    assert!(without.contains("project_id uuid,\n") && !without.contains("applications_by_project"));
}

fn migrations() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "migrations"].iter().collect()
}

/// What a file says. With `ANNALS_GOLDEN=record` it is written first, if there is none.
fn recorded(path: &Path, make: impl FnOnce() -> String) -> String {
    if std::env::var("ANNALS_GOLDEN").is_ok_and(|wish| wish == "record") && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, make()).unwrap();
    }
    let pinned = std::fs::read_to_string(path);
    pinned.unwrap_or_else(|_| panic!("{} is missing; record it", path.display()))
}

/// Names of a folder's files that are none of these.
fn left_behind(folder: &Path, expected: &[PathBuf]) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let lost = files.filter(|file| !expected.contains(file));
    lost.map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn golden_rows() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn path(definition: &Definition) -> PathBuf {
    golden_rows().join(format!("{}.v{}.txt", definition.model.name(), definition.model.version()))
}

fn golden(definition: &Definition, covers: &Covered) -> String {
    let covers_text: Vec<_> = covers.iter().map(|(aggregate, cases)| format!("{aggregate} {cases}")).collect();
    format!("{COVERS}{}\n{}", covers_text.join(", "), rows(definition, &history(covers)))
}

fn rows(definition: &Definition, history: &History) -> String {
    let table = |name| format!("{name}\n{}\n", history.rows(&definition.model, name).join("\n"));
    definition.model.tables().iter().map(|shape| table(shape.name)).collect()
}

/// How many golden histories of each aggregate, from the first on; by full name, `portfolio.application`.
type Covered = BTreeMap<String, usize>;

const COVERS: &str = "rows behind the first golden histories: ";

/// What a golden file covers.
fn covered(pinned: &str) -> Covered {
    let line = pinned.lines().next().and_then(|line| line.strip_prefix(COVERS)).unwrap();
    line.split(", ")
        .map(|one| one.split_once(' ').unwrap())
        .map(|(of, n)| (of.to_owned(), n.parse().unwrap()))
        .collect()
}

/// All that is recorded of a read model's contexts.
fn recorded_of(definition: &Definition) -> Covered {
    let contexts = annals_aggregates::contexts();
    let contexts = contexts.iter().filter(|context| definition.model.contexts().contains(&context.id()));
    let names = contexts.flat_map(|context| {
        context.aggregates().map(move |kind| format!("{}.{}", context.id(), kind.aggregate_type()))
    });
    names.filter_map(|name| Some((name.clone(), Golden::read(&name)?.cases.len()))).collect()
}

/// The events of these golden histories: each is an aggregate's of its own in one workspace, which has its number there.
fn history(covers: &Covered) -> History {
    let (contexts, mut history) = (annals_aggregates::contexts(), History::default());
    for (name, cases) in covers {
        let (context, aggregate) = name.split_once('.').unwrap();
        let context = contexts.iter().find(|known| known.id().name == context).unwrap();
        let scope = match context.aggregate(aggregate).unwrap().scope() {
            ScopeKind::Tenant => scope(1, 0),
            ScopeKind::Workspace | ScopeKind::TenantAboutWorkspace => scope(1, 2),
        };
        for (number, case) in (1..).zip(Golden::read(name).unwrap().cases.into_iter().take(*cases)) {
            case.history
                .iter()
                .for_each(|event| history.push_bytes(scope, id(number), event.schema(), event.payload()));
        }
    }
    history
}
