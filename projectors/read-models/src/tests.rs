use std::path::{Path, PathBuf};

use annals_model::ids::{UserId, WorkspaceId};
use annals_model::read_model::newest;
use annals_stores::testing::{History, Rows, id, scope};

use super::*;

mod domain;

#[tokio::test]
async fn every_version_has_the_tables_that_its_definition_says() {
    for definition in definitions() {
        // Opening compares tables, columns, types and keys with the definition; before it, the index statements ran.
        let rows = Rows::of(&definition, &everything()).await;
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

/// The rows of a fixed history, pinned. Where they change, the version must: a generation built by the old code would
/// otherwise pass for one of the new. `ANNALS_GOLDEN=record cargo test -p annals-read-models golden` writes the files of a
/// version that has none; a file that exists is never written again. The first line says how many events it covers, so
/// that [`everything`] may be appended to.
#[test]
fn golden_rows_of_every_version_are_what_they_were_when_it_was_made() {
    for definition in definitions() {
        let name = label(&definition);
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "golden", &format!("{name}.txt")].iter().collect();
        let pinned = recorded(&path, || golden(&definition, &everything()));
        let rows = golden(&definition, &everything().first(covered(&pinned)));
        assert!(pinned == rows, "{name} makes other rows; give them a new version\nwas:\n{pinned}\nis:\n{rows}");
    }
}

#[test]
fn golden_rows_of_the_newest_versions_cover_every_event_that_they_apply() {
    let history = everything();
    for definition in newest(&definitions()) {
        for event in definition.model.event_types() {
            assert!(
                history
                    .schemas()
                    .any(|schema| annals_schemas::CATALOGUE.get(schema).unwrap().event_type == event.event_type),
                "append {} to everything()",
                event.event_type
            );
        }
    }
}

#[test]
fn golden_rows_tell_a_changed_history_apart() {
    for definition in definitions() {
        let mut changed = everything();
        let events = changed.event_count();
        changed.push(scope(1, 2), id(10), annals_schemas::portfolio::project::Archived {});
        changed.push(scope(1, 0), id(2), annals_schemas::access::workspace::Archived {});
        let (was, is) = (golden(&definition, &changed.first(events)), golden(&definition, &changed));
        assert_eq!(was, golden(&definition, &everything()));
        assert_ne!(was.lines().skip(1).collect::<Vec<_>>(), is.lines().skip(1).collect::<Vec<_>>());
    }
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
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    expected.sort();
    assert_eq!(files, expected, "a version that is retired takes its file with it");
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

fn label(definition: &Definition) -> String {
    format!("{}.v{}", definition.model.name(), definition.model.version())
}

fn golden(definition: &Definition, history: &History) -> String {
    let model = &definition.model;
    let table = |name| format!("{name}\n{}\n", history.rows(model, name).join("\n"));
    let tables: String = model.tables().iter().map(|shape| table(shape.name)).collect();
    format!("rows behind the first {} events\n{tables}", history.event_count())
}

/// Number of events that a golden file covers.
fn covered(pinned: &str) -> usize {
    pinned.lines().next().and_then(|line| line.split(' ').nth(4)).unwrap().parse().unwrap()
}

/// Every event of both contexts, older revisions too. New ones go to the end: what is pinned stands on those before.
fn everything() -> History {
    let mut history = History::default();
    push_access(&mut history);
    push_portfolio(&mut history);
    history
}

fn push_access(history: &mut History) {
    use annals_schemas::access::membership::{Added, Removed, Role, RoleChanged};
    use annals_schemas::access::workspace::{Archived, Created, Isolation, IsolationSet, Renamed, RetentionSet};
    let tenant = scope(1, 0);
    for (number, slug) in [(2, "core"), (3, "edge")] {
        history.push(tenant, id(number), Created { name: slug.to_uppercase(), slug: slug.into() });
    }
    history.push(tenant, id(2), Renamed { name: "Core Banking".into() });
    history.push(tenant, id(2), RetentionSet { retention_days: 30 });
    history.push(tenant, id(2), IsolationSet { isolation: Isolation::Physical });
    history.push(tenant, id(3), Archived {});
    for (number, team) in [(40, Some("payments")), (41, None)] {
        let (workspace_id, user_id) = (WorkspaceId(id(2).0), UserId(id(number + 100).0));
        let added = Added { workspace_id, user_id, role: Role::Viewer, team: team.map(Into::into) };
        history.push(scope(1, 2), id(number), added);
    }
    history.push(scope(1, 2), id(40), RoleChanged { role: Role::Owner });
    history.push(scope(1, 2), id(41), Removed {});
}

fn push_portfolio(history: &mut History) {
    use annals_schemas::portfolio::application::v1::{self, Severity};
    use annals_schemas::portfolio::application::{Criticality, Registered, Retired, RiskAssessed, VersionReleased};
    use annals_schemas::portfolio::dependency::{Declared, Kind, Withdrawn};
    use annals_schemas::portfolio::project::{Archived, Created, Renamed, Restored};
    let here = scope(1, 2);
    history.push(here, id(10), Created { name: "core".into() });
    history.push(here, id(10), Renamed { name: "kernel".into() });
    history.push(here, id(11), Created { name: "edge".into() });
    history.push(here, id(11), Archived {});
    history.push(here, id(11), Restored {});
    for (number, name, project, source) in [
        (20, "billing", Some(10), Some("registry+https://example.org/index")),
        (21, "ledger", Some(10), None),
        (22, "audit", None, None),
    ] {
        let (project_id, source) = (project.map(id), source.map(Into::into));
        let registered = Registered { name: name.into(), project_id, criticality: Criticality::Critical, source };
        history.push(here, id(number), registered);
    }
    let old = v1::r0::Registered { name: "old".into(), project_id: None, criticality: Criticality::Low };
    history.push(here, id(23), old);
    for number in ["1.0.0", "1.1.0"] {
        history.push(here, id(20), VersionReleased { number: number.into() });
    }
    history.push(here, id(21), VersionReleased { number: "1.0.0".into() });
    history.push(here, id(20), RiskAssessed { likelihood: 2, impact: 5, note: None });
    history.push(here, id(23), v1::RiskAssessed { severity: Severity::Critical, note: Some("end of life".into()) });
    history.push(here, id(23), Retired { forced: false });
    for (number, from, to, kind, requirement) in
        [(30, 20, 21, Kind::Runtime, Some("^1")), (31, 21, 22, Kind::Build, None), (32, 22, 20, Kind::Data, None)]
    {
        let (from_application_id, to_application_id) = (id(from), id(to));
        let requirement = requirement.map(Into::into);
        history.push(here, id(number), Declared { from_application_id, to_application_id, kind, requirement });
    }
    history.push(here, id(31), Withdrawn {});
    let elsewhere =
        Registered { name: "billing".into(), project_id: None, criticality: Criticality::Low, source: None };
    history.push(scope(9, 2), id(20), elsewhere);
}
