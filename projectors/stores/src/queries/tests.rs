//! Queries against real generations: the same tests for each store.

use std::collections::BTreeSet;

use annals_aggregates::testing::{Logged, Pools, samples};
use annals_model::ids::{AggregateId, Scope, WorkspaceId};
use annals_schemas::portfolio::application::{Criticality, Registered, Retired, VersionReleased};
use annals_schemas::portfolio::dependency::{Declared, Kind, Withdrawn};
use annals_schemas::portfolio::project::Created;
use serde_json::{Value, json};

use annals_model::query::{CursorKey, ParameterType, Query, QueryRequest, QueryScope, QuestionError, catalogue};

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
        workspace: workspace(scope),
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
    for name in newest(&definitions()).map(|one| one.model.name()) {
        let (lived, here) = found_by_all(&newest_of(name)).await;
        let [mine, all] = [&[(1, 0)][..], &[(1, 0), (1, 100), (9, 0), (9, 100)]].map(|places| copied(&lived, places));
        for definition in definitions().into_iter().filter(|one| one.model.name() == name) {
            let alone = Rows::of(&definition, &mine).await;
            let among = Rows::of(&definition, &all).await;
            for query in definition.queries {
                let request = finding(query, here, &alone.live).await.expect("of what the newest version finds");
                let expected = rows(&alone.live, &request).await;
                assert_eq!(rows(&among.live, &request).await, expected, "{}", query.name);
                let stranger = if query.scope == QueryScope::Tenant { scope(8, 0) } else { scope(1, 8) };
                let asked = QueryRequest { tenant: stranger.tenant, workspace: workspace(stranger), ..request };
                assert_eq!(rows(&among.live, &asked).await, [] as [Value; 0], "{}", query.name);
            }
        }
    }
}

/// What happened in one tenant, event by event.
type Lived = Vec<Logged>;

/// The first of what random commands come to in which every query of a read model finds something, and the workspace where.
async fn found_by_all(definition: &Definition) -> (Lived, WorkspaceId) {
    let contexts = annals_aggregates::contexts();
    let context = contexts.iter().find(|context| definition.model.contexts() == [context.id()]).unwrap();
    for simulation in samples(context).take(200) {
        let history = copied(&simulation.log, &[(1, 0)]);
        // Without a row in each table there is no need to ask.
        let tables = history.tables(&definition.model);
        if (0..tables.table_count()).any(|table| tables.sorted_keys(table).is_empty()) {
            continue;
        }
        let generation = crate::testing::IN.scope(Place::Sqlite, Rows::of(definition, &history)).await;
        let places: BTreeSet<_> = simulation.log.iter().map(|logged| logged.workspace).collect();
        'places: for place in places.into_iter().filter(|place| *place != WorkspaceId::NIL) {
            // Alone: what is about other workspaces is in none of its answers.
            for query in definition.queries {
                if finding(query, place, &generation.live).await.is_none() {
                    continue 'places;
                }
            }
            let mine = |logged: &Logged| [place, WorkspaceId::NIL].contains(&logged.workspace);
            return (simulation.log.into_iter().filter(mine).collect(), place);
        }
    }
    panic!("no random commands lead to rows for every query of {}", definition.model.name());
}

/// The same events in several tenants, and in workspaces so much further, under the same ids everywhere. What is the
/// tenant's is there once.
fn copied(lived: &[Logged], places: &[(u128, u128)]) -> History {
    let mut history = History::default();
    for (tenant, further) in places {
        for Logged { id, workspace, event } in lived {
            let workspace = match workspace.0.as_u128() {
                0 if *further > 0 => continue,
                0 => 0,
                number => number + further,
            };
            history.push_bytes(scope(*tenant, workspace), *id, event.schema, event.payload.clone());
        }
    }
    history
}

/// A request that is answered with rows, if there is one: whatever has to be given is one of the few values that random
/// commands choose from.
async fn finding(query: &Query, here: WorkspaceId, live: &LiveGeneration) -> Option<QueryRequest> {
    let pools = Pools::default();
    let value = |kind, n: usize| match kind {
        ParameterType::Uuid => pools.ids[n % pools.ids.len()].to_string(),
        ParameterType::Text => pools.names[n % pools.names.len()].clone(),
        ParameterType::OneOf(words) => words[n % words.len()].to_owned(),
        ParameterType::Int => n.to_string(),
        ParameterType::Bool => n.is_multiple_of(2).to_string(),
    };
    let of_any = query.any_of.first();
    let needed = query.parameters.iter().filter(|one| one.required || of_any == Some(&one.name));
    let needed: Vec<_> = needed.collect();
    let place = match query.scope {
        QueryScope::Tenant => scope(1, 0),
        QueryScope::Workspace => Scope { workspace: here, ..scope(1, 0) },
    };
    for n in 0..if needed.is_empty() { 1 } else { pools.ids.len() } {
        let given: Vec<_> = needed.iter().map(|one| (one.name, value(one.parameter_type, n))).collect();
        let given: Vec<_> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = ask(query.name, place, &given);
        if !rows(live, &request).await.is_empty() {
            return Some(request);
        }
    }
    None
}

fn workspace(scope: Scope) -> Option<WorkspaceId> {
    Some(scope.workspace).filter(|workspace| *workspace != WorkspaceId::NIL)
}

on_each_store! {
    every_query_of_every_version_fits_the_tables_of_its_version,
    an_answer_is_in_the_order_of_its_columns_and_names_its_generation,
    what_is_answered_is_what_stood_at_the_position_that_is_answered,
    nobody_sees_the_rows_of_another_tenant_or_workspace,
}
