use annals_model::projection::{Column, ColumnType};

use super::*;
use annals_model::ids::{TenantId, WorkspaceId};
use annals_model::query::{Columns, CursorKey, Parameter, ParameterType, QueryRequest, QueryScope};
use annals_read_models::definitions;

#[test]
fn behind_a_prefix_lies_the_next_text_that_does_not_begin_with_it() {
    for (prefix, expect) in [
        ("a", Some("b")),
        ("az", Some("a{")),
        ("a\u{10ffff}", Some("b")),
        ("\u{d7ff}", Some("\u{e000}")),
        ("\u{10ffff}", None),
        ("", None),
    ] {
        assert_eq!(behind_prefix(prefix).as_deref(), expect, "{prefix:?}");
    }
}

const GOOD: Query = Query {
    name: "portfolio.test",
    doc: "",
    scope: QueryScope::Workspace,
    parameters: &[],
    any_of: &[],
    columns: Columns::Listed(&[]),
    order: &[Column { name: "id", column_type: ColumnType::Uuid, nullable: false }],
    rows: "SELECT * FROM applications",
    names: None,
    gave_up: None,
};

#[test]
fn a_definition_that_could_reach_out_of_its_scope_is_refused() {
    let definitions = definitions();
    let tables = definitions.iter().rfind(|one| one.model.name() == "portfolio").unwrap().model.tables();
    let check = |query: Query| check(&query, "portfolio", tables);
    assert_eq!(check(GOOD), Ok(()));
    for rows in [
        "SELECT * FROM main.applications",
        "SELECT * FROM MAIN.applications",
        "SELECT * FROM \"main\".applications",
        "SELECT * FROM applications, annals_meta",
        "SELECT * FROM applications WHERE tenant_id = 1",
        "SELECT * FROM portfolio_g1.applications",
        "SELECT * FROM applications JOIN access.workspaces AS others ON true",
        "SELECT set_config('annals.tenant', '', true) FROM applications",
        "SELECT * FROM applications, pg_class",
        "SELECT 1",
    ] {
        assert!(check(Query { rows, ..GOOD }).is_err(), "{rows}");
    }
    let nullable = &[Column { name: "project_id", column_type: ColumnType::Uuid, nullable: true }];
    assert!(check(Query { order: nullable, ..GOOD }).is_err());
    assert!(check(Query { order: &[], ..GOOD }).is_err());
    assert!(check(Query { name: "access.test", ..GOOD }).is_err());
    assert!(check(Query { any_of: &["name"], ..GOOD }).is_err());
    const UNUSED: &[Parameter] = &[Parameter::argument("id", ParameterType::Uuid, "")];
    assert!(check(Query { parameters: UNUSED, ..GOOD }).is_err());
    const RESERVED: &[Parameter] = &[Parameter::filter("limit", ParameterType::Int, "")];
    assert!(check(Query { parameters: RESERVED, ..GOOD }).is_err());
    let elsewhere = Columns::Table { table: "workspaces", with_id: true };
    assert!(check(Query { columns: elsewhere, ..GOOD }).is_err());
    let rows = "SELECT * FROM applications WHERE name = :name";
    assert!(check(Query { rows, ..GOOD }).is_err(), "nobody gives it");
    let rows = "SELECT * FROM applications /*sqlite: WHERE id = :id*/";
    assert!(check(Query { rows, parameters: UNUSED, ..GOOD }).is_err(), "PostgreSQL has no use for it");
}

static BETWEEN: Query = Query {
    parameters: &[
        Parameter::argument("application", ParameterType::Text, ""),
        Parameter::argument("application_id", ParameterType::Uuid, ""),
    ],
    rows: "SELECT id, ':application' AS application, :application::text AS name FROM applications
           WHERE id <> :application_id AND name <> :application",
    ..GOOD
};

#[test]
fn arguments_are_bound_by_their_whole_names() {
    let id = "00000000-0000-0000-0000-000000000007";
    let request = QueryRequest {
        name: BETWEEN.name.to_owned(),
        tenant: TenantId::default(),
        workspace: Some(WorkspaceId(uuid::Uuid::from_u128(2))),
        parameters: vec![("application_id".to_owned(), id.to_owned()), ("application".to_owned(), "a".to_owned())],
        limit: None,
        cursor: None,
    };
    let definitions = definitions();
    let tables = definitions.iter().rfind(|one| one.model.name() == "portfolio").unwrap().model.tables();
    assert_eq!(check(&BETWEEN, "portfolio", tables), Ok(()));
    let question = Question::read(&BETWEEN, &request, &CursorKey::new([7; 32])).unwrap();
    for database in [Database::Sqlite, Database::Postgres("portfolio_g1")] {
        let statement = build(&question, database, tables);
        let (_, text) = statement.text.split_once("answer AS (").unwrap();
        let (text, _) = text.split_once(") SELECT").unwrap();
        let expected = "SELECT id, ':application' AS application, $3::text AS name FROM applications
           WHERE id <> $4 AND name <> $3";
        assert_eq!(text, expected);
        let [text, id] = &statement.arguments[2..] else { panic!("{:?}", statement.arguments) };
        assert_eq!((text, id), (&OwnedValue::Text("a".into()), &OwnedValue::Uuid(uuid::Uuid::from_u128(7))));
    }
}
