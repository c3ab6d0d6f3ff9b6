use annals_model::aggregate::{ReferenceLabel, StateView as _};
use annals_model::context::AnyState;
use annals_model::testing::{Given, World, folded, given, id};
use annals_schemas::portfolio::application;

use crate::portfolio::project::Project;

use super::*;

const APP: AggregateId = id(2);
const LIBRARY: AggregateId = id(3);

fn declared() -> Event {
    Declared { from_application_id: APP, to_application_id: LIBRARY, kind: Kind::Build, requirement: Some("^1".into()) }
        .into()
}

fn withdrawn() -> Event {
    Withdrawn {}.into()
}

fn declare(from: AggregateId, to: AggregateId) -> Command {
    Command::Declare {
        from_application_id: from,
        to_application_id: to,
        kind: Kind::Build,
        requirement: Some("^1".parse().unwrap()),
    }
}

fn registered(name: &str) -> application::Event {
    let (project_id, criticality, source) = (None, application::Criticality::Low, None);
    application::Registered { name: name.into(), project_id, criticality, source }.into()
}

fn retired() -> application::Event {
    application::Retired { forced: true }.into()
}

/// Both ends exist.
fn between(events: impl IntoIterator<Item = Event>) -> Given<Dependency> {
    given(events).and::<Application>(APP, [registered("app")]).and::<Application>(LIBRARY, [registered("library")])
}

#[test]
fn a_dependency_is_declared_between_two_applications() {
    between([]).when(declare(APP, LIBRARY)).then([declared()]);
}

#[test]
fn both_ends_must_exist() {
    between([]).when(declare(id(9), LIBRARY)).then_rejected(Rejection::NoSuchApplication(id(9)));
    between([]).when(declare(APP, id(9))).then_rejected(Rejection::NoSuchApplication(id(9)));
}

#[test]
fn neither_end_may_be_retired() {
    for retired_end in [APP, LIBRARY] {
        between([])
            .and::<Application>(retired_end, [registered("old"), retired()])
            .when(declare(APP, LIBRARY))
            .then_rejected(Rejection::ApplicationRetired(retired_end));
    }
}

#[test]
fn nothing_depends_on_itself() {
    between([]).when(declare(APP, APP)).then_rejected(Rejection::OnItself(APP));
}

#[test]
fn a_cycle_is_allowed() {
    let back = Declared { from_application_id: LIBRARY, to_application_id: APP, kind: Kind::Build, requirement: None };
    let closed = between([]).and::<Dependency>(id(9), [back.into()]);
    closed.when(declare(APP, LIBRARY)).then([declared()]);
}

#[test]
fn a_dependency_is_withdrawn_once() {
    between([declared()]).when(Command::Withdraw {}).then([withdrawn()]);
    between([declared(), withdrawn()]).when(Command::Withdraw {}).then_nothing();
}

#[test]
fn one_live_dependency_per_pair_and_kind() {
    let key = vec![("dependency.edge", format!("{APP}/{LIBRARY}/build"))];
    assert_eq!(folded::<Dependency>([declared()]).unique_keys(), key);
    assert_eq!(folded::<Dependency>([declared(), withdrawn()]).unique_keys(), []);
    assert_eq!(Dependency::default().unique_keys(), []);
}

#[test]
fn a_live_dependency_points_at_both_ends() {
    let ends = [Application::NEEDED.to(LIBRARY), Application::NEEDING.to(APP)];
    assert_eq!(folded::<Dependency>([declared()]).references(), ends);
    assert_eq!(folded::<Dependency>([declared(), withdrawn()]).references(), []);
    assert_eq!(Dependency::default().references(), []);
}

#[test]
fn an_application_is_needed_by_dependencies_on_it_and_nothing_else_under_its_id_is() {
    let mut world = World::default();
    let dependency = folded::<Dependency>([declared()]);
    let references = dependency.references();
    world.put(Dependency::TYPE, id(9), AnyState::new(dependency), references);
    let needed = |of: AggregateId, label| world.referrers(of, label);
    assert_eq!(needed(LIBRARY, Application::NEEDED.erased()), 1);
    assert_eq!(needed(APP, Application::NEEDED.erased()), 0);
    // The same name at another type is another label.
    let of_projects = ReferenceLabel::<Project>::new(Application::NEEDED.erased().name());
    assert_eq!(needed(LIBRARY, of_projects.erased()), 0);
}
