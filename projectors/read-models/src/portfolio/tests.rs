use annals_schemas::portfolio::application::v1::{self, Severity};
use annals_schemas::portfolio::application::{Criticality, Registered, Retired, RiskAssessed, VersionReleased};
use annals_schemas::portfolio::dependency::{Declared, Kind, Withdrawn};
use annals_schemas::portfolio::project::{Archived, Created, Renamed, Restored};

use annals_stores::testing::{History, id, scope};

/// Rows of one table of the newest version and of version 1.
#[track_caller]
fn check(history: &History, table: &str, expect: &[&str], expect_v1: &[&str]) {
    assert_eq!(history.rows(&super::v2(), table), expect);
    assert_eq!(history.rows(&super::v1(), table), expect_v1);
}

#[track_caller]
fn check_both(history: &History, table: &str, expect: &[&str]) {
    check(history, table, expect, expect);
}

fn registered(name: &str, project: Option<u128>) -> Registered {
    Registered { name: name.into(), project_id: project.map(id), criticality: Criticality::High, source: None }
}

fn released(number: &str) -> VersionReleased {
    VersionReleased { number: number.into() }
}

fn declared(from: u128, to: u128, kind: Kind) -> Declared {
    Declared { from_application_id: id(from), to_application_id: id(to), kind, requirement: Some("^1".into()) }
}

#[test]
fn a_project_keeps_its_newest_name_and_whether_it_is_put_aside() {
    let mut history = History::default();
    history.push(scope(1, 2), id(10), Created { name: "core".into() });
    history.push(scope(1, 2), id(11), Created { name: "edge".into() });
    history.push(scope(1, 2), id(10), Renamed { name: "kernel".into() });
    history.push(scope(1, 2), id(10), Archived {});
    history.push(scope(1, 2), id(11), Archived {});
    history.push(scope(1, 2), id(11), Restored {});
    check_both(
        &history,
        "projects",
        &[
            "1/2/10 live: name=\"kernel\" status=\"archived\" version=3",
            "1/2/11 live: name=\"edge\" status=\"active\" version=3",
        ],
    );
}

#[test]
fn an_application_shows_its_last_release_its_risk_and_its_end() {
    let mut history = History::default();
    history.push(scope(1, 2), id(20), registered("billing", Some(10)));
    history.push(scope(1, 2), id(20), released("1.0.0"));
    history.push(scope(1, 2), id(20), released("0.9.1"));
    history.push(scope(1, 2), id(20), RiskAssessed { likelihood: 4, impact: 5, note: Some("old".into()) });
    history.push(scope(1, 2), id(20), Retired { forced: true });
    check(
        &history,
        "applications",
        &["1/2/20 live: name=\"billing\" project_id=#10 criticality=\"high\" source=null latest_release=\"0.9.1\" \
           release_count=2 likelihood=4 impact=5 status=\"retired\" registered_at=2026-01-19T12:00:00.000000Z version=5"],
        &["1/2/20 live: name=\"billing\" project_id=#10 criticality=\"high\" source=null latest_release=\"0.9.1\" \
           likelihood=4 impact=5 status=\"retired\" registered_at=2026-01-19T12:00:00.000000Z version=5"],
    );
}

#[test]
fn events_of_older_revisions_make_the_rows_that_newer_ones_would() {
    let mut history = History::default();
    let old = v1::r0::Registered { name: "old".into(), project_id: None, criticality: Criticality::Low };
    history.push(scope(1, 2), id(20), old);
    history.push(scope(1, 2), id(20), v1::RiskAssessed { severity: Severity::High, note: None });
    check(
        &history,
        "applications",
        &["1/2/20 live: name=\"old\" project_id=null criticality=\"low\" source=null latest_release=null \
           release_count=0 likelihood=4 impact=4 status=\"active\" registered_at=2026-01-19T12:00:00.000000Z version=2"],
        &["1/2/20 live: name=\"old\" project_id=null criticality=\"low\" source=null latest_release=null \
           likelihood=4 impact=4 status=\"active\" registered_at=2026-01-19T12:00:00.000000Z version=2"],
    );
}

#[test]
fn each_release_of_each_application_has_its_row() {
    let mut history = History::default();
    for application in [20, 21] {
        history.push(scope(1, 2), id(application), registered(&application.to_string(), None));
        history.push(scope(1, 2), id(application), released("1.0.0"));
    }
    history.push(scope(1, 2), id(20), released("1.1.0"));
    let mut rows: Vec<String> = history.rows(&super::v2(), "application_versions");
    rows.iter_mut().for_each(|row| *row = row.split_once(": ").unwrap().1.to_owned());
    rows.sort();
    assert_eq!(
        rows,
        [
            "application_id=#20 number=\"1.0.0\" released_at=2026-01-19T12:00:01.000000Z",
            "application_id=#20 number=\"1.1.0\" released_at=2026-01-19T12:00:04.000000Z",
            "application_id=#21 number=\"1.0.0\" released_at=2026-01-19T12:00:03.000000Z",
        ]
    );
}

#[test]
fn a_withdrawn_dependency_leaves_a_tombstone() {
    let mut history = History::default();
    history.push(scope(1, 2), id(30), declared(20, 21, Kind::Runtime));
    history.push(scope(1, 2), id(31), declared(20, 22, Kind::Build));
    history.push(scope(1, 2), id(31), Withdrawn {});
    check_both(
        &history,
        "dependencies",
        &[
            "1/2/30 live: from_application_id=#20 to_application_id=#21 kind=\"runtime\" requirement=\"^1\" version=1",
            "1/2/31 deleted: from_application_id=#20 to_application_id=#22 kind=\"build\" requirement=\"^1\" version=1",
        ],
    );
}

#[test]
fn applications_are_counted_by_project_and_status_in_each_workspace() {
    let mut history = History::default();
    for (application, project) in [(20, Some(10)), (21, Some(10)), (22, None), (23, Some(10))] {
        history.push(scope(1, 2), id(application), registered(&application.to_string(), project));
    }
    history.push(scope(1, 3), id(24), registered("elsewhere", Some(10)));
    history.push(scope(1, 2), id(21), Retired { forced: false });
    for model in [super::v1(), super::v2()] {
        let rows = history.rows(&model, "application_counts");
        let mut counts: Vec<(&str, &str)> =
            rows.iter().map(|row| (&row[..3], row.split_once(": ").unwrap().1)).collect();
        counts.sort();
        assert_eq!(
            counts,
            [
                ("1/2", "project_id=#10 status=\"active\" applications=2"),
                ("1/2", "project_id=#10 status=\"retired\" applications=1"),
                ("1/2", "project_id=null status=\"active\" applications=1"),
                ("1/3", "project_id=#10 status=\"active\" applications=1"),
            ]
        );
    }
}
