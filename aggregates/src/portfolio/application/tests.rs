use annals_model::command_json::{FieldError, from_named};
use annals_model::testing::{Given, folded, given, id};
use annals_schemas::portfolio::{dependency, project};
use serde_json::{Value, json};

use super::*;
use crate::portfolio::dependency::Dependency;

const PROJECT: AggregateId = id(50);

fn registered() -> Event {
    let (project_id, source) = (None, None);
    Registered { name: "billing".into(), project_id, criticality: Criticality::Medium, source }.into()
}

fn released(number: &str) -> Event {
    VersionReleased { number: number.into() }.into()
}

fn retired(forced: bool) -> Event {
    Retired { forced }.into()
}

fn parse(name: &str, payload: Value) -> Result<Command, FieldError> {
    from_named(name, payload)
}

fn register_in(project: AggregateId) -> Command {
    parse("register", json!({"name": "billing", "project_id": project})).unwrap()
}

fn release(number: &str) -> Command {
    Command::ReleaseVersion { number: number.parse().unwrap() }
}

fn assess(likelihood: i64, impact: i64, note: Option<&str>) -> Command {
    parse("assess_risk", json!({"likelihood": likelihood, "impact": impact, "note": note})).unwrap()
}

/// `billing`, on which two others depend.
fn needed() -> Given<Application> {
    given([registered()])
        .and::<Dependency>(id(20), [declared(id(2))])
        .and::<Dependency>(id(30), [declared(id(3))])
        .and::<Dependency>(id(40), [declared(id(4)), dependency::Withdrawn {}.into()])
}

fn declared(from: AggregateId) -> dependency::Event {
    let (to, kind) = (Given::<Application>::ID, dependency::Kind::Runtime);
    dependency::Declared { from_application_id: from, to_application_id: to, kind, requirement: None }.into()
}

#[test]
fn an_application_is_registered_with_medium_criticality_unless_told() {
    given::<Application>([]).when(parse("register", json!({"name": "billing"})).unwrap()).then([registered()]);
    let told = json!({"name": "billing", "criticality": "high", "source": "registry+https://example.com"});
    let (project_id, source) = (None, Some("registry+https://example.com".to_owned()));
    let high = Registered { name: "billing".into(), project_id, criticality: Criticality::High, source };
    given::<Application>([]).when(parse("register", told).unwrap()).then([high.into()]);
}

#[test]
fn its_project_must_exist() {
    given::<Application>([]).when(register_in(PROJECT)).then_rejected(Rejection::NoSuchProject(PROJECT));
}

#[test]
fn its_project_must_be_active() {
    let created = || project::Event::from(project::Created { name: "Ledger".into() });
    let (criticality, source) = (Criticality::Medium, None);
    let expected = Registered { name: "billing".into(), project_id: Some(PROJECT), criticality, source };
    given::<Application>([]).and::<Project>(PROJECT, [created()]).when(register_in(PROJECT)).then([expected.into()]);
    given::<Application>([])
        .and::<Project>(PROJECT, [created(), project::Archived {}.into()])
        .when(register_in(PROJECT))
        .then_rejected(Rejection::ProjectArchived(PROJECT));
}

#[test]
fn a_version_is_released_once() {
    given::<Application>([registered()]).when(release("1.0")).then([released("1.0")]);
    given::<Application>([registered(), released("1.0")]).when(release("1.1")).then([released("1.1")]);
    let history = [registered(), released("1.0"), released("1.1")];
    given::<Application>(history).when(release("1.0")).then_nothing();
}

#[test]
fn the_number_of_releases_is_bounded_and_a_known_one_still_changes_nothing() {
    let full = || {
        let releases = (0..limits::RELEASES_MAX).map(|number| released(&number.to_string()));
        given::<Application>(std::iter::once(registered()).chain(releases))
    };
    full().when(release("one more")).then_rejected(Rejection::TooManyReleases(limits::RELEASES_MAX));
    full().when(release("7")).then_nothing();
}

#[test]
fn a_risk_is_recorded_each_time_it_is_assessed() {
    let assessed: Event = RiskAssessed { likelihood: 2, impact: 5, note: None }.into();
    given::<Application>([registered()]).when(assess(2, 5, None)).then([assessed.clone()]);
    given::<Application>([registered(), assessed.clone()]).when(assess(2, 5, None)).then([assessed]);
    let noted = RiskAssessed { likelihood: 1, impact: 1, note: Some("no network".into()) };
    given::<Application>([registered()]).when(assess(1, 1, Some("no network"))).then([noted.into()]);
}

#[test]
fn a_grade_outside_its_scale_is_refused_by_the_name_of_its_field() {
    for (likelihood, impact, field) in [(0, 1, "payload.likelihood"), (1, 6, "payload.impact")] {
        let error = parse("assess_risk", json!({"likelihood": likelihood, "impact": impact})).unwrap_err();
        assert_eq!(error.path, field);
        assert!(error.message.contains("send 1 to 5"), "{}", error.message);
    }
}

#[test]
fn an_application_is_retired_once() {
    given::<Application>([registered()]).when(Command::Retire { force: false }).then([retired(false)]);
    given::<Application>([registered(), retired(false)]).when(Command::Retire { force: false }).then_nothing();
    let parsed = parse("retire", json!({})).unwrap();
    assert!(matches!(parsed, Command::Retire { force: false }));
}

#[test]
fn an_application_that_others_depend_on_is_not_retired() {
    needed().when(Command::Retire { force: false }).then_rejected(Rejection::StillNeeded(2));
    needed().reason("tidying up").when(Command::Retire { force: false }).then_rejected(Rejection::StillNeeded(2));
}

#[test]
fn force_with_a_reason_retires_it_all_the_same() {
    needed().reason("a hole without a fix").when(Command::Retire { force: true }).then([retired(true)]);
}

#[test]
fn force_without_a_reason_is_refused() {
    needed().when(Command::Retire { force: true }).then_rejected(Rejection::ForceWithoutReason);
    needed().reason("  ").when(Command::Retire { force: true }).then_rejected(Rejection::ForceWithoutReason);
}

#[test]
fn force_that_nobody_resists_is_not_recorded_as_such() {
    let unneeded = given::<Application>([registered()]).reason("tidying up");
    unneeded.when(Command::Retire { force: true }).then([retired(false)]);
}

#[test]
fn a_retired_application_refuses_every_other_command() {
    for command in [release("2.0"), assess(1, 1, None)] {
        given::<Application>([registered(), retired(false)]).when(command).then_rejected(Rejection::Retired);
    }
}

#[test]
fn a_name_is_free_again_once_its_application_is_retired() {
    assert_eq!(folded::<Application>([registered()]).unique_keys(), [("application.name", "billing".to_owned())]);
    assert_eq!(folded::<Application>([registered(), retired(true)]).unique_keys(), []);
    assert_eq!(Application::default().unique_keys(), []);
}

#[test]
fn a_release_shares_the_releases_before_it() {
    let mut before = folded::<Application>([registered()]);
    for number in 0..limits::RELEASES_MAX {
        before.evolve(&released(&number.to_string()));
    }
    let first = |application: &Application| application.releases.first().cloned().unwrap();
    let held = |application: &Application| Arc::strong_count(&first(application));
    // One by the set, one by `first`: that of the copy is another copy only where the set itself was copied.
    let alone = held(&before);
    let mut after = before.clone();
    after.evolve(&released("one more"));
    assert_eq!(after.releases.size(), before.releases.size() + 1);
    assert_eq!(held(&before), alone, "the first release was copied for another one");
    assert!(Arc::ptr_eq(&first(&before), &first(&after)), "all releases were made anew for another one");
}

#[test]
fn a_name_from_before_names_had_one_form_folds_and_is_unique_in_that_form() {
    let (project_id, source) = (None, None);
    let name = "Cafe\u{301}".to_owned();
    let old = folded::<Application>([Registered {
        name: name.clone(),
        project_id,
        criticality: Criticality::Medium,
        source,
    }
    .into()]);
    assert_eq!(old.name, name);
    assert_eq!(old.unique_keys(), [("application.name", "Caf\u{e9}".to_owned())]);
}
