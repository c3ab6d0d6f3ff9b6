//! Queries against real generations: the same tests for each store.

use annals_model::ids::{AggregateId, Scope, WorkspaceId};
use annals_schemas::portfolio::application::{Criticality, Registered, Retired, VersionReleased};
use annals_schemas::portfolio::dependency::{Declared, Kind, Withdrawn};
use annals_schemas::portfolio::project::Created;
use serde_json::{Value, json};

use annals_model::query::{CursorKey, ParameterType, QueryRequest, QueryScope, QuestionError, catalogue};

use super::*;
use crate::testing::{History, Place, Rows, id, scope};
use annals_model::read_model::{Definition, newest};
use annals_read_models::definitions;

/// Runs tests once for each store that rows may lie in.
macro_rules! on_each_store {
    ($($test:ident),+ $(,)?) => {
        mod in_sqlite {
            $(#[tokio::test]
            async fn $test() {
                crate::testing::IN.scope(crate::testing::Place::Sqlite, super::$test()).await;
            })+
        }
        mod in_postgres {
            $(#[tokio::test]
            async fn $test() {
                crate::testing::IN.scope(crate::testing::Place::Postgres, super::$test()).await;
            })+
        }
    };
}

mod cycles;
mod pages;
mod portfolio;
mod postgres;
mod refusals;

/// Parameters of a request.
type Given<'a> = &'a [(&'a str, &'a str)];

const HERE: Scope = scope(1, 2);

fn queries() -> Queries {
    Queries::new(definitions(), CursorKey::new([7; 32]))
}

/// Runs a check outside of any runtime, as property tests do.
fn blocking(place: Place, check: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(crate::testing::IN.scope(place, check));
}

/// The newest version of a read model.
fn newest_of(name: &str) -> Definition {
    definitions().into_iter().rfind(|definition| definition.model.name() == name).unwrap()
}

fn ask(name: &str, scope: Scope, parameters: &[(&str, &str)]) -> QueryRequest {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    QueryRequest {
        name: name.to_owned(),
        tenant: scope.tenant,
        workspace: Some(scope.workspace).filter(|workspace| *workspace != WorkspaceId::NIL),
        parameters: parameters.iter().map(owned).collect(),
        limit: Some(500),
        cursor: None,
    }
}

/// The rows that a request is answered with, as JSON.
async fn rows(live: &LiveGeneration, request: &QueryRequest) -> Vec<Value> {
    let answer = queries().answer(request, live).await.unwrap();
    answer.page.rows.iter().map(AnswerRow::to_json).collect()
}

/// One member of each row.
async fn each(live: &LiveGeneration, request: &QueryRequest, member: &str) -> Vec<Value> {
    rows(live, request).await.into_iter().map(|mut row| row[member].take()).collect()
}

/// Adds an application with its dependencies, in one workspace.
fn application(history: &mut History, scope: Scope, number: u128, name: &str, needs: &[u128]) {
    let event = Registered { name: name.into(), project_id: None, criticality: Criticality::Medium, source: None };
    history.push(scope, id(number), event);
    for needed in needs {
        let (from, to) = (id(number), id(*needed));
        history.push(scope, edge(number, *needed), declared(from, to, Kind::Runtime));
    }
}

fn edge(from: u128, to: u128) -> AggregateId {
    id(from * 1_000 + to)
}

fn declared(from: AggregateId, to: AggregateId, kind: Kind) -> Declared {
    Declared { from_application_id: from, to_application_id: to, kind, requirement: None }
}

#[test]
fn the_catalogue_describes_every_query_of_the_newest_versions() {
    let catalogue = catalogue(&definitions());
    let names: Vec<&str> = catalogue.iter().map(|query| query.name).collect();
    let mut expected: Vec<&str> = newest(&definitions()).flat_map(|one| one.queries).map(|query| query.name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let status = json!({"name": "status", "type": "enum", "values": ["active", "archived"], "required": false,
        "doc": "Only projects in this state."});
    let projects = catalogue.iter().find(|query| query.name == "portfolio.projects").unwrap();
    let projects = serde_json::to_value(projects).unwrap();
    assert_eq!(projects["parameters"], json!([status]));
    assert_eq!(projects["columns"][0], json!({"name": "id", "type": "uuid", "nullable": false}));
    assert!(catalogue.iter().all(|query| !query.doc.is_empty()));
}

#[test]
fn the_catalogue_of_what_is_served_follows_the_version_that_is_served() {
    let has_release_count = |version| {
        let catalogue = queries().catalogue(|name| (name == "portfolio").then_some(version));
        assert!(catalogue.iter().all(|query| query.read_model == "portfolio" && query.version == version));
        let applications = catalogue.into_iter().find(|query| query.name == "portfolio.applications").unwrap();
        applications.columns.iter().any(|column| column.name == "release_count")
    };
    assert_eq!((has_release_count(1), has_release_count(2)), (false, true));
}

async fn every_query_of_every_version_fits_the_tables_of_its_version() {
    for definition in definitions() {
        let generation = Rows::of(&definition, &History::default()).await;
        for query in definition.queries {
            let some = id(1).to_string();
            let needed = query.parameters.iter().filter(|parameter| parameter.required || !query.any_of.is_empty());
            let value = |kind| match kind {
                ParameterType::Uuid => some.as_str(),
                ParameterType::OneOf(words) => words[0],
                ParameterType::Text => "text",
                ParameterType::Int => "1",
                ParameterType::Bool => "true",
            };
            let parameters: Vec<_> = needed.map(|one| (one.name, value(one.parameter_type))).collect();
            let place = if query.scope == QueryScope::Tenant { scope(1, 0) } else { HERE };
            let answer = queries().answer(&ask(query.name, place, &parameters), &generation.live).await.unwrap();
            assert_eq!((answer.page.rows.len(), answer.page.next_cursor), (0, None), "{}", query.name);
            assert_eq!((answer.read_model, answer.version), (definition.model.name(), definition.model.version()));
        }
    }
}

async fn an_answer_is_in_the_order_of_its_columns_and_names_its_generation() {
    let mut history = History::default();
    application(&mut history, HERE, 20, "billing", &[]);
    history.push(HERE, id(20), VersionReleased { number: "1.0.0".into() });
    let is_meant = |one: &Definition| (one.model.name(), one.model.version()) == ("portfolio", 2);
    let definition = definitions().into_iter().find(is_meant).unwrap();
    let generation = Rows::of(&definition, &history).await;
    let answer = queries().answer(&ask("portfolio.applications", HERE, &[]), &generation.live).await.unwrap();
    assert_eq!(
        serde_json::to_string(&answer.page.rows).unwrap(),
        "[{\"id\":\"00000000-0000-0000-0000-000000000014\",\"name\":\"billing\",\"project_id\":null,\
         \"criticality\":\"medium\",\"source\":null,\"latest_release\":\"1.0.0\",\"release_count\":1,\
         \"likelihood\":null,\"impact\":null,\"status\":\"active\",\
         \"registered_at\":\"2026-01-19T12:00:00.000000Z\",\"version\":2}]"
    );
    assert_eq!((answer.query, answer.read_model), ("portfolio.applications", "portfolio"));
    assert_eq!(answer.version, 2);
    assert_eq!(answer.generation, generation.live.generation.id);
    assert_eq!(answer.position.log_id(), crate::testing::LOG);
    assert_eq!(answer.position.get(crate::testing::partition(&definition.model)), generation.at);
}

async fn what_is_answered_is_what_stood_at_the_position_that_is_answered() {
    let definition = newest_of("portfolio");
    let mut generation = Rows::of(&definition, &History::default()).await;
    let (live, partition) = (generation.live.clone(), crate::testing::partition(&definition.model));
    let (done, mut is_done) = tokio::sync::watch::channel(false);
    let writer = tokio::spawn(async move {
        for number in 0..200 {
            let mut history = History::default();
            application(&mut history, HERE, 100 + number, &number.to_string(), &[]);
            generation.commit(&history).await;
        }
        done.send(true).unwrap();
        generation
    });
    let mut positions = 0;
    let mut last = 0;
    while !*is_done.borrow_and_update() || positions == 0 {
        let counts = ask("portfolio.application_counts", HERE, &[]);
        let answer = queries().answer(&counts, &live).await.unwrap();
        let position = answer.position.get(partition).offset.0;
        let counted = answer.page.rows.first().map_or_else(|| json!(0), |row| row.to_json()["applications"].take());
        assert_eq!(counted, json!(position), "one event is one application");
        positions += u32::from(position != last);
        last = position;
    }
    writer.await.unwrap();
}

async fn nobody_sees_the_rows_of_another_tenant_or_workspace() {
    let (mine, all) = (two_of_each(&[HERE]), two_of_each(&[HERE, scope(1, 3), scope(9, 2), scope(9, 3)]));
    for definition in definitions() {
        let alone = Rows::of(&definition, &mine).await;
        let among = Rows::of(&definition, &all).await;
        for query in definition.queries {
            let (twenty, thing) = (id(20).to_string(), ("name", "billing"));
            let needed: Vec<(&str, &str)> = match query.name {
                "portfolio.application_versions" | "portfolio.cycle" => vec![("application_id", &twenty)],
                "portfolio.dependents" => vec![thing],
                _ => vec![],
            };
            let place = if query.scope == QueryScope::Tenant { scope(1, 0) } else { HERE };
            let request = ask(query.name, place, &needed);
            let expected = rows(&alone.live, &request).await;
            assert_eq!(rows(&among.live, &request).await, expected, "{}", query.name);
            assert!(!expected.is_empty(), "{} has nothing to hide; add an event to two_of_each()", query.name);
            let stranger = if query.scope == QueryScope::Tenant { scope(8, 0) } else { scope(1, 8) };
            assert_eq!(rows(&among.live, &ask(query.name, stranger, &needed)).await, [] as [Value; 0]);
        }
    }
}

/// Something of every table in each scope, under the same ids and names everywhere.
fn two_of_each(scopes: &[Scope]) -> History {
    use annals_schemas::access::{membership, workspace};
    let mut history = History::default();
    let mut tenants = Vec::new();
    for scope in scopes {
        if !tenants.contains(&scope.tenant) {
            tenants.push(scope.tenant);
            let created = workspace::Created { name: "Core".into(), slug: "core".into() };
            history.push(Scope::of_tenant(scope.tenant), id(2), created);
        }
        let (user_id, role) = (annals_model::ids::UserId(id(7).0), membership::Role::Owner);
        history.push(*scope, id(40), membership::Added { workspace_id: scope.workspace, user_id, role, team: None });
        history.push(*scope, id(10), Created { name: "core".into() });
        application(&mut history, *scope, 20, "billing", &[21]);
        application(&mut history, *scope, 21, "ledger", &[20]);
        history.push(*scope, id(20), VersionReleased { number: "1.0.0".into() });
    }
    history
}

on_each_store! {
    every_query_of_every_version_fits_the_tables_of_its_version,
    an_answer_is_in_the_order_of_its_columns_and_names_its_generation,
    what_is_answered_is_what_stood_at_the_position_that_is_answered,
    nobody_sees_the_rows_of_another_tenant_or_workspace,
}
