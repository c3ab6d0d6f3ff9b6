use annals_model::projection::{Column, ColumnType};

use super::*;
use annals_model::query::{Parameter, ParameterType, QueryScope};
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
    columns: &[],
    order: &[Column { name: "id", column_type: ColumnType::Uuid, nullable: false }],
    rows: "SELECT * FROM applications",
    gave_up: None,
};

#[test]
fn a_definition_that_could_reach_out_of_its_scope_is_refused() {
    let definitions = definitions();
    let tables = definitions.last().unwrap().model.tables();
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
}
