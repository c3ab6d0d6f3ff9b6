//! What is refused, before anything is read, and in which words.

use futures_util::FutureExt as _;

use super::*;
use crate::sinks::Readers;

async fn refusal(live: &LiveGeneration, request: &QueryRequest) -> QueryError {
    queries().answer(request, live).await.unwrap_err()
}

async fn generation() -> Rows {
    let mut history = History::default();
    for number in 1..=4 {
        application(&mut history, HERE, number, &format!("n{number}"), &[]);
    }
    Rows::of(&newest_of("portfolio"), &history).await
}

async fn parameters_are_an_allow_list() {
    let generation = generation().await;
    let long = "a".repeat(1_025);
    let cases: &[(&str, Given<'_>, &str)] = &[
        (
            "portfolio.projects",
            &[("stauts", "active")],
            "query `portfolio.projects` has no parameter `stauts`; it has status",
        ),
        (
            "portfolio.projects",
            &[("status", "gone")],
            "parameter `status` is no word that it knows; send active, archived",
        ),
        (
            "portfolio.projects",
            &[("status", "active"), ("status", "active")],
            "parameter `status` is given more than once; give it once",
        ),
        (
            "portfolio.applications",
            &[("project_id", "1")],
            "parameter `project_id` is no uuid; send one like 01890a5d-ac96-774b-bcce-b302099a8057",
        ),
        (
            "portfolio.applications",
            &[("name", "a\0")],
            "parameter `name` is no text; send text without the character NUL",
        ),
        ("portfolio.applications", &[("name", &long)], "parameter `name` has 1025 bytes; send at most 1024"),
        ("portfolio.cycle", &[], "query `portfolio.cycle` needs parameter `application_id`; give it"),
        (
            "portfolio.dependents",
            &[("kind", "build")],
            "query `portfolio.dependents` needs one of the parameters application_id, name; give one",
        ),
    ];
    for (name, parameters, expect) in cases {
        assert_eq!(refusal(&generation.live, &ask(name, HERE, parameters)).await.to_string(), *expect);
    }
}

#[tokio::test]
async fn a_query_that_does_not_exist_is_answered_with_those_that_do() {
    let generation = generation().await;
    let error = refusal(&generation.live, &ask("portfolio.secrets", HERE, &[])).await;
    assert!(error.to_string().starts_with("there is no query `portfolio.secrets`; there are access.memberships, "));
    assert_eq!(queries().read_model("portfolio.secrets"), Err(error));
    assert_eq!(queries().read_model("portfolio.cycle"), Ok("portfolio"));
    let of_another = refusal(&generation.live, &ask("access.workspaces", scope(1, 0), &[])).await;
    let newest = newest_of("portfolio").model.version();
    assert!(matches!(of_another, QueryError::NotInVersion { version, .. } if version == newest), "{of_another}");
}

async fn limits_are_one_to_five_hundred() {
    let generation = generation().await;
    for (limit, rows) in [(Some(1), 1), (Some(500), 4), (None, 4)] {
        let request = QueryRequest { limit, ..ask("portfolio.applications", HERE, &[]) };
        assert_eq!(queries().answer(&request, &generation.live).await.unwrap().page.rows.len(), rows);
    }
    for limit in [0, 501, u32::MAX] {
        let request = QueryRequest { limit: Some(limit), ..ask("portfolio.applications", HERE, &[]) };
        assert_eq!(
            refusal(&generation.live, &request).await,
            QueryError::Question(QuestionError::LimitOutOfRange { limit })
        );
    }
}

async fn a_workspace_is_named_exactly_where_one_is_meant() {
    let (portfolio, query) = (generation().await, "portfolio.projects");
    let access = Rows::of(&newest_of("access"), &History::default()).await;
    let nowhere = QueryRequest { workspace: None, ..ask(query, HERE, &[]) };
    assert_eq!(
        refusal(&portfolio.live, &nowhere).await,
        QueryError::Question(QuestionError::WorkspaceMissing { query })
    );
    let nil = QueryRequest { workspace: Some(WorkspaceId::NIL), ..nowhere };
    assert_eq!(refusal(&portfolio.live, &nil).await, QueryError::Question(QuestionError::WorkspaceMissing { query }));
    let too_much = refusal(&access.live, &ask("access.workspaces", HERE, &[])).await;
    assert_eq!(too_much, QueryError::Question(QuestionError::WorkspaceNotWanted { query: "access.workspaces" }));
}

/// A request and a cursor for its second page.
async fn paged(generation: &Rows) -> (QueryRequest, String) {
    let request = QueryRequest { limit: Some(2), ..ask("portfolio.applications", HERE, &[("status", "active")]) };
    let cursor = queries().answer(&request, &generation.live).await.unwrap().page.next_cursor.unwrap();
    (request, cursor)
}

async fn a_cursor_that_was_changed_is_refused() {
    let generation = generation().await;
    let (mut request, cursor) = paged(&generation).await;
    request.cursor = Some(cursor.clone());
    assert_eq!(each(&generation.live, &request, "name").await, ["n3", "n4"]);
    let changed = (0..cursor.len()).map(|at| {
        let other = if cursor.as_bytes()[at] == b'A' { "B" } else { "A" };
        [&cursor[..at], other, &cursor[at + 1..]].concat()
    });
    let others = ["", "A", "not a cursor", "é"].map(String::from);
    let shortened = [cursor[..cursor.len() - 4].to_owned(), format!("{cursor}AAAA"), "A".repeat(5_000)];
    for cursor in changed.chain(others).chain(shortened) {
        request.cursor = Some(cursor);
        assert_eq!(refusal(&generation.live, &request).await, QueryError::Question(QuestionError::InvalidCursor));
    }
}

async fn a_cursor_of_another_question_is_refused() {
    let generation = generation().await;
    let (request, cursor) = paged(&generation).await;
    let asked = QueryRequest { cursor: Some(cursor), ..request };
    let parameters = |parameters: &[(&str, &str)]| ask("", HERE, parameters).parameters;
    let others = [
        QueryRequest { tenant: scope(9, 0).tenant, ..asked.clone() },
        QueryRequest { workspace: Some(scope(1, 3).workspace), ..asked.clone() },
        QueryRequest { name: "portfolio.projects".into(), ..asked.clone() },
        QueryRequest { parameters: vec![], ..asked.clone() },
        QueryRequest { parameters: parameters(&[("status", "retired")]), ..asked.clone() },
        QueryRequest { parameters: parameters(&[("status", "active"), ("criticality", "low")]), ..asked.clone() },
    ];
    for other in others {
        assert_eq!(
            refusal(&generation.live, &other).await,
            QueryError::Question(QuestionError::InvalidCursor),
            "{other:?}"
        );
    }
    let other_key = Queries::new(definitions(), CursorKey::new([8; 32]));
    assert_eq!(
        other_key.answer(&asked, &generation.live).await,
        Err(QueryError::Question(QuestionError::InvalidCursor))
    );
}

async fn the_size_of_pages_and_the_order_of_parameters_may_change_between_pages() {
    let generation = generation().await;
    let parameters = [("status", "active"), ("criticality", "medium")];
    let mut request = QueryRequest { limit: Some(1), ..ask("portfolio.applications", HERE, &parameters) };
    request.cursor = queries().answer(&request, &generation.live).await.unwrap().page.next_cursor;
    request.parameters.reverse();
    request.limit = Some(10);
    assert_eq!(each(&generation.live, &request, "name").await, ["n2", "n3", "n4"]);
}

#[test]
fn a_key_does_not_show_itself() {
    assert_eq!(format!("{:?}", CursorKey::new([7; 32])), "CursorKey(secret)");
}

#[tokio::test]
async fn a_statement_that_does_not_end_is_ended_and_its_connection_serves_on() {
    let definition = newest_of("portfolio");
    let generation = Rows::of(&definition, &History::default()).await;
    let query = &definition.queries[0];
    let endless = statement::Statement {
        text: "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0".to_owned(),
        arguments: Vec::new(),
    };
    // More often than there are connections.
    for _ in 0..2 * crate::limits::READERS_PER_GENERATION_MAX {
        let time_max = std::time::Duration::from_millis(5);
        let Readers::Sqlite(readers) = &generation.live.readers else { panic!("these are SQLite's") };
        let read = sqlite::read(readers, endless.clone(), query, &definition.model, time_max).await;
        let error = read.unwrap_err();
        assert!(sqlite::took_too_long(&error), "{error}");
    }
    queries().answer(&ask(query.name, HERE, &[]), &generation.live).await.unwrap();
}

async fn a_tenant_whose_connections_are_all_taken_waits_in_vain_and_others_are_answered() {
    let (generation, queries) = (generation().await, queries());
    let live = &generation.live;
    let connections = match &live.readers {
        Readers::Sqlite(_) => crate::limits::READERS_PER_GENERATION_MAX,
        Readers::Postgres(_) => crate::limits::POSTGRES_READERS_MAX,
    };
    let (own, others) = (ask("portfolio.projects", HERE, &[]), ask("portfolio.projects", scope(8, 2), &[]));
    // Begun and never looked at again: what a question has, it keeps.
    let share = connections as usize / crate::limits::QUERY_TENANT_PART;
    let mut held: Vec<_> = (0..share).map(|_| Box::pin(queries.answer(&own, live))).collect();
    for question in &mut held {
        assert!(question.as_mut().now_or_never().is_none());
    }
    // The wait is as long as it is, and takes no time here.
    tokio::time::pause();
    let one_more = queries.answer(&own, live).await;
    tokio::time::resume();
    assert_eq!(one_more, Err(QueryError::Busy { query: "portfolio.projects" }));
    queries.answer(&others, live).await.unwrap();
    drop(held);
    queries.answer(&own, live).await.unwrap();
}

on_each_store! {
    a_tenant_whose_connections_are_all_taken_waits_in_vain_and_others_are_answered,
    parameters_are_an_allow_list,
    limits_are_one_to_five_hundred,
    a_workspace_is_named_exactly_where_one_is_meant,
    a_cursor_that_was_changed_is_refused,
    a_cursor_of_another_question_is_refused,
    the_size_of_pages_and_the_order_of_parameters_may_change_between_pages,
}
