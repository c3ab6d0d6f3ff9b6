//! Pages: every row once, in order, whatever the limit; and what SQLite makes of a statement.

use annals_model::projection::OwnedValue;
use annals_model::query::Question;
use proptest::prelude::*;
use sqlx::{AssertSqlSafe, Row as _};

use super::*;
use crate::queries::statement;
use crate::sinks::Readers;

/// SQLite's plan for the statement of a request's second page, one step per line.
pub(super) async fn plan(definition: &Definition, generation: &Rows, request: &QueryRequest) -> String {
    let query = definition.queries.iter().find(|query| query.name == request.name).unwrap();
    let after = query.order.iter().map(|_| OwnedValue::Null).collect();
    let question = Question { after: Some(after), ..Question::read(query, request, queries().key()).unwrap() };
    let database = statement::Database::of(&generation.live.readers);
    let statement = statement::build(&question, database, definition.model.tables());
    let text = format!("EXPLAIN QUERY PLAN {}", statement.text);
    let Readers::Sqlite(readers) = &generation.live.readers else { panic!("these are SQLite's") };
    let steps = sqlx::query(AssertSqlSafe(text)).fetch_all(readers).await.unwrap();
    steps.iter().map(|step| step.get::<String, _>("detail") + "\n").collect()
}

/// All rows behind a request, page by page.
async fn all(live: &LiveGeneration, request: &QueryRequest, limit: u32) -> Vec<AnswerRow> {
    let mut request = QueryRequest { limit: Some(limit), ..request.clone() };
    let mut rows = Vec::new();
    loop {
        let page = queries().answer(&request, live).await.unwrap().page;
        assert!(page.rows.len() <= limit as usize);
        assert!(page.next_cursor.is_none() || page.rows.len() == limit as usize, "a page ends early at the end only");
        rows.extend(page.rows);
        assert!(rows.len() < 10_000, "pages end");
        match page.next_cursor {
            Some(cursor) => request.cursor = Some(cursor),
            None => return rows,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_of_any_size_hold_every_row_once_and_in_order(
        names in prop::collection::vec("[ab\u{e9}\u{10ffff}]{0,3}", 0..40),
        limits in prop::collection::vec(1u32..45, 3),
    ) {
        blocking(Place::Sqlite, pages_hold_every_row_once(&names, &limits));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn pages_of_any_size_hold_every_row_once_and_in_order_in_postgres(
        names in prop::collection::vec("[ab\u{e9}\u{10ffff}]{0,3}", 0..40),
        limits in prop::collection::vec(1u32..45, 3),
    ) {
        blocking(Place::Postgres, pages_hold_every_row_once(&names, &limits));
    }
}

async fn pages_hold_every_row_once(names: &[String], limits: &[u32]) {
    let mut history = History::default();
    for (number, name) in (0u128..).zip(names) {
        application(&mut history, HERE, number + 1, name, &[number / 2 + 1]);
        history.push(HERE, id(1), VersionReleased { number: number.to_string() });
    }
    let generation = Rows::of(&newest_of("portfolio"), &history).await;
    let one = id(1).to_string();
    for request in [
        ask("portfolio.applications", HERE, &[]),
        ask("portfolio.applications", HERE, &[("name_prefix", "a")]),
        ask("portfolio.dependencies", HERE, &[]),
        ask("portfolio.application_versions", HERE, &[("application_id", &one)]),
        ask("portfolio.dependents", HERE, &[("application_id", &one)]),
    ] {
        let whole = all(&generation.live, &request, 500).await;
        for limit in limits {
            assert_eq!(all(&generation.live, &request, *limit).await, whole);
        }
    }
    let mut expected: Vec<_> = (1u128..).zip(names).map(|(number, name)| (name.clone(), id(number).0)).collect();
    expected.sort();
    let whole = all(&generation.live, &ask("portfolio.applications", HERE, &[]), 500).await;
    let value = |row: &AnswerRow, name: &str| row.to_json()[name].as_str().unwrap().to_owned();
    let found: Vec<_> = whole.iter().map(|row| (value(row, "name"), value(row, "id").parse().unwrap())).collect();
    assert_eq!(found, expected);
}

async fn a_page_goes_on_behind_its_last_row_whatever_was_written_since() {
    let mut history = History::default();
    for number in 1..=6 {
        application(&mut history, HERE, number, &format!("n{number}"), &[]);
    }
    let mut generation = Rows::of(&newest_of("portfolio"), &history).await;
    let mut request = QueryRequest { limit: Some(3), ..ask("portfolio.applications", HERE, &[]) };
    let first = queries().answer(&request, &generation.live).await.unwrap();
    request.cursor = first.page.next_cursor;
    let mut more = History::default();
    application(&mut more, HERE, 7, "n0", &[]);
    application(&mut more, HERE, 8, "n4b", &[]);
    generation.commit(&more).await;
    assert_eq!(each(&generation.live, &request, "name").await, ["n4", "n4b", "n5"]);
}

async fn a_cursor_outlives_a_change_of_version() {
    let mut history = History::default();
    for number in 1..=4 {
        application(&mut history, HERE, number, &format!("n{number}"), &[]);
    }
    let [old, new] = [1, 2].map(|version| {
        definitions().into_iter().find(|one| one.model.name() == "portfolio" && one.model.version() == version).unwrap()
    });
    let (old, new) = (Rows::of(&old, &history).await, Rows::of(&new, &history).await);
    let mut request = QueryRequest { limit: Some(2), ..ask("portfolio.applications", HERE, &[]) };
    request.cursor = queries().answer(&request, &old.live).await.unwrap().page.next_cursor;
    assert_eq!(each(&new.live, &request, "name").await, ["n3", "n4"]);
}

on_each_store! {
    a_page_goes_on_behind_its_last_row_whatever_was_written_since,
    a_cursor_outlives_a_change_of_version,
}
