//! What PostgreSQL makes of a statement, and what it does beneath one.

use annals_model::projection::{ColumnType, OwnedValue};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use annals_model::query::Question;

use super::*;
use crate::queries::statement::{Database, Statement};
use crate::queries::{postgres, statement};
use crate::sinks::postgres::answer::took_too_long;
use crate::sinks::{PostgresReaders, Readers};

async fn generation(history: &History) -> Rows {
    crate::testing::IN.scope(Place::Postgres, Rows::of(&newest_of("portfolio"), history)).await
}

fn readers(generation: &Rows) -> &PostgresReaders {
    match &generation.live.readers {
        Readers::Postgres(readers) => readers,
        Readers::Sqlite(_) => panic!("these are PostgreSQL's"),
    }
}

/// Isolation by construction covers every table that a text can name; this text was never checked, and names one that is
/// not covered.
#[tokio::test]
async fn a_statement_that_forgot_its_tenant_sees_no_other_tenants_rows() {
    let generation = generation(&a_little_of_each(&[HERE, scope(9, 2)])).await;
    let readers = readers(&generation);
    let definition = newest_of("portfolio");
    let query = definition.queries.iter().find(|query| query.name == "portfolio.projects").unwrap();
    let columns = query.columns.of_tables(definition.model.tables()).unwrap();
    let columns: Vec<_> = columns.iter().chain(query.order).map(|column| column.name).collect();
    let text = format!("SELECT {} FROM {}.projects", columns.join(", "), readers.schema);
    let forgot = Statement { text, arguments: Vec::new() };
    let seen = async |tenant| {
        postgres::read(readers, forgot.clone(), query, &definition.model, tenant).await.unwrap().rows.len()
    };
    for tenant in [HERE.tenant, scope(9, 2).tenant] {
        assert_eq!(seen(tenant).await, 1);
    }
    assert_eq!(seen(scope(8, 2).tenant).await, 0);
    // Without the rule this test would see both.
    let database = readers.pool.connect_options().get_database().unwrap().to_owned();
    let server = annals_dev::postgres::shared().unwrap();
    server.sql(&database, &format!("ALTER TABLE {}.projects DISABLE ROW LEVEL SECURITY", readers.schema)).unwrap();
    assert_eq!(seen(HERE.tenant).await, 2);
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let generation = generation(&History::default()).await;
    let readers = readers(&generation);
    let text = AssertSqlSafe(format!("DELETE FROM {}.projects", readers.schema));
    let written = sqlx::query(text).execute(&readers.pool).await.unwrap_err();
    assert!(written.to_string().contains("read-only transaction"), "{written}");
}

#[tokio::test]
async fn a_statement_that_does_not_end_is_ended_and_its_connection_serves_on() {
    let generation = generation(&History::default()).await;
    let definition = newest_of("portfolio");
    let query = &definition.queries[0];
    let endless = Statement {
        text: "SET LOCAL statement_timeout = 5; \
               WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT 0 FROM n) SELECT i FROM n WHERE i < 0"
            .to_owned(),
        arguments: Vec::new(),
    };
    let Statement { text, .. } = &endless;
    let (shorter, text) = text.split_once("; ").unwrap();
    // More often than there are connections.
    for _ in 0..2 * crate::limits::POSTGRES_READERS_MAX {
        let mut connection = readers(&generation).pool.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(shorter.to_owned())).execute(&mut *transaction).await.unwrap();
        let text = AssertSqlSafe(text.to_owned());
        let error = sqlx::query(text).fetch_all(&mut *transaction).await.unwrap_err();
        assert!(took_too_long(&error), "{error}");
    }
    let times: String =
        sqlx::query_scalar("SHOW statement_timeout").fetch_one(&readers(&generation).pool).await.unwrap();
    assert_eq!(times, format!("{}s", crate::limits::QUERY_TIME_MS_MAX / 1_000), "every other statement is bounded too");
    queries().answer(&ask(query.name, HERE, &[]), &generation.live).await.unwrap();
}

/// Makes each table of a workspace large; nobody analyses them.
fn fill(generation: &Rows) {
    let schema = &readers(generation).schema;
    let uuid = |of: &str| format!("lpad(to_hex({of}), 32, '0')::uuid");
    let key = format!("'{}'::uuid, '{}'::uuid, {}", HERE.tenant, HERE.workspace, uuid("n + 1000000"));
    let (one, other) = (uuid("n % 1000"), uuid("n % 777"));
    let rows = [
        ("projects", "name, status, version", "'p' || n, 'active', 1".to_owned()),
        (
            "applications",
            "name, project_id, criticality, release_count, status, registered_at, version",
            format!("'a' || n, {one}, 'medium', 0, 'active', now(), 1"),
        ),
        ("application_versions", "application_id, number, released_at", format!("{one}, '1.' || n, now()")),
        (
            "dependencies",
            "from_application_id, to_application_id, kind, version",
            format!("{one}, {other}, 'runtime', 1"),
        ),
    ];
    let definition = newest_of("portfolio");
    let statements = rows.map(|(table, columns, values)| {
        // Whatever else the table must have.
        let shape = definition.model.tables().iter().find(|shape| shape.name == table).unwrap();
        let listed: Vec<_> = columns.split(", ").collect();
        let more = shape.columns.iter().filter(|column| !column.nullable && !listed.contains(&column.name));
        let (mut columns, mut values) = (columns.to_owned(), values);
        for column in more {
            columns.push_str(&format!(", {}", column.name));
            values.push_str(match column.column_type {
                ColumnType::Text => ", 'x'",
                ColumnType::Uuid => ", gen_random_uuid()",
                ColumnType::Int => ", 1",
                ColumnType::Float => ", 1.0",
                ColumnType::Bool => ", false",
                ColumnType::Timestamp => ", now()",
                ColumnType::Json => ", '{}'",
            });
        }
        format!(
            "ALTER TABLE {schema}.{table} SET (autovacuum_enabled = off);
             INSERT INTO {schema}.{table} (tenant_id, workspace_id, id, {columns}, deleted)
                 SELECT {key}, {values}, false FROM generate_series(1, 100000) AS n;"
        )
    });
    let database = readers(generation).pool.connect_options().get_database().unwrap().to_owned();
    annals_dev::postgres::shared().unwrap().sql(&database, &statements.concat()).unwrap();
}

/// PostgreSQL's plan for the statement of a request's second page, as it is asked.
async fn plan(generation: &Rows, request: &QueryRequest) -> String {
    let definition = newest_of("portfolio");
    let query = definition.queries.iter().find(|query| query.name == request.name).unwrap();
    let some = |column: &annals_model::projection::Column| match column.column_type {
        annals_model::projection::ColumnType::Text => OwnedValue::Text("b".into()),
        annals_model::projection::ColumnType::Timestamp => OwnedValue::Timestamp(crate::testing::FIRST_AT),
        _ => OwnedValue::Uuid(id(5).0),
    };
    let after = query.order.iter().map(some).collect();
    let database = Database::of(&generation.live.readers);
    let question = Question { after: Some(after), ..Question::read(query, request, queries().key()).unwrap() };
    let statement = statement::build(&question, database, definition.model.tables());
    let mut connection = readers(generation).pool.acquire().await.unwrap();
    let begin = format!("BEGIN; SET LOCAL annals.tenant = '{}'", request.tenant);
    let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await.unwrap();
    let arguments = crate::sinks::postgres::values::arguments(statement.arguments.iter().map(OwnedValue::as_value));
    let text = AssertSqlSafe(format!("EXPLAIN {}", statement.text));
    let steps = sqlx::query_with(text, arguments.unwrap()).fetch_all(&mut *transaction).await.unwrap();
    steps.iter().map(|step| step.get::<String, _>(0) + "\n").collect()
}

/// Row-level security lets an operator use an index only if it leaks nothing: all that pages are read by do so.
#[tokio::test]
async fn pages_are_read_from_an_index_in_order() {
    let generation = generation(&a_little_of_each(&[HERE])).await;
    let one = id(1).to_string();
    let in_order: &[(&str, Given<'_>, &str, &str)] = &[
        ("portfolio.projects", &[], "projects_by_name", "ROW(name, id) >"),
        ("portfolio.applications", &[], "applications_by_name", "ROW(name, id) >"),
        ("portfolio.dependencies", &[], "dependencies_by_from", "ROW(from_application_id, to_application_id, id) >"),
        ("portfolio.applications", &[("name_prefix", "a")], "applications_by_name", "(name <"),
        ("portfolio.applications", &[("project_id", &one)], "applications_by_project", "ROW(name, id) >"),
        (
            "portfolio.application_versions",
            &[("application_id", &one)],
            "application_versions_by_application",
            "ROW(released_at, id) >",
        ),
    ];
    fill(&generation);
    let database = readers(&generation).pool.connect_options().get_database().unwrap().to_owned();
    let schema = &readers(&generation).schema;
    let tables = in_order.iter().flat_map(|(name, ..)| name.strip_prefix("portfolio."));
    let tables: Vec<String> = tables.map(|table| format!("{schema}.{table}")).collect();
    let beliefs = [
        "SELECT 1".to_owned(),
        format!("ANALYZE {}", tables.join(", ")),
        "UPDATE pg_class SET reltuples = 0, relpages = 1 WHERE relkind = 'r' AND relnamespace > 16383".to_owned(),
    ];
    let asked = beliefs.iter().flat_map(|belief| in_order.iter().map(move |asked| (belief, asked)));
    for (belief, (name, parameters, index, condition)) in asked {
        annals_dev::postgres::shared().unwrap().sql(&database, belief).unwrap();
        let plan = plan(&generation, &ask(name, HERE, parameters)).await;
        assert!(plan.contains(&format!("Index Scan using {index}")), "{name} {parameters:?}:\n{plan}");
        let mut conditions = plan.lines().filter(|line| line.contains("Index Cond"));
        assert!(conditions.any(|line| line.contains(condition)), "{name} {parameters:?}:\n{plan}");
        assert!(!plan.contains("Sort"), "{name} {parameters:?}:\n{plan}");
    }
}

/// Something of every table in each scope, under the same ids and names everywhere.
fn a_little_of_each(scopes: &[Scope]) -> History {
    let mut history = History::default();
    for scope in scopes {
        history.push(*scope, id(10), Created { name: "core".into() });
        application(&mut history, *scope, 20, "billing", &[21]);
        application(&mut history, *scope, 21, "ledger", &[20]);
        history.push(*scope, id(20), VersionReleased { number: "1.0.0".into() });
    }
    history
}
