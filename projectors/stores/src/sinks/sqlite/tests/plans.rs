//! What SQLite makes of every statement with keys or pages: the primary key, however many rows and whatever it believes.

use annals_model::projection::TableKind;
use sqlx::AssertSqlSafe;

use super::super::statements::TableStatements;
use super::*;
use crate::limits;

/// Rows of the large tables.
const ROWS: u32 = 100_000;

/// Fills the tables of `stock` as a run of years leaves them: many workspaces, ids that stand in several of them.
fn filled() -> String {
    let id = |of: &str| format!("unhex(printf('%032x', {of}))");
    let key = format!("{}, {}, {}", id("n % 3"), id("n % 100"), id("n / 10"));
    let numbers = format!("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS})");
    format!(
        "{numbers} INSERT INTO items SELECT {key}, 'nail', 'front', NULL, false, {}, 0, NULL, '{{}}', 1, false FROM s;
         {numbers} INSERT INTO visits SELECT {key}, {}, 'front', 1, false FROM s;
         {numbers} INSERT INTO shelf_totals SELECT {key}, 'front', 0, 0 FROM s;",
        id("n"),
        id("n")
    )
}

/// Things that SQLite may believe of the tables, one after the other: what every file is given is the first.
fn beliefs() -> [(&'static str, String); 5] {
    let all = |rows: &str| {
        format!(
            "UPDATE sqlite_stat1 SET stat = '{rows}' WHERE tbl IN ('items', 'visits', 'shelf_totals'); ANALYZE sqlite_schema"
        )
    };
    [
        ("what it was told", String::new()),
        ("the truth", "ANALYZE".to_owned()),
        ("that they have one row", all("1 1 1 1 1 1")),
        ("that all rows have one key", all("1000000 1000000 1000000 1000000 1000000 1000000")),
        ("nothing", "DELETE FROM sqlite_stat1; ANALYZE sqlite_schema".to_owned()),
    ]
}

/// All statements about a table, of every number of rows, each with what it must search.
fn statements(table: &TableStatements) -> Vec<(Arc<str>, String)> {
    const KEYS: &str = "USING PRIMARY KEY (tenant_id=? AND workspace_id=? AND id=?)";
    let name = table.shape.name;
    let is_rollup = matches!(table.shape.kind, TableKind::Rollup(_));
    let page_after = format!("SEARCH {name} USING PRIMARY KEY ((tenant_id,workspace_id,id)>(?,?,?))");
    let mut statements =
        vec![(table.pages.after.clone(), page_after), (table.pages.first.clone(), format!("SCAN {name}"))];
    let largest = table.chunks(&[(); limits::SINK_STATEMENT_ROWS_MAX]).next().map_or(0, <[()]>::len);
    for rows in std::iter::successors(Some(1), |rows| Some(rows * 2)).take_while(|rows| *rows <= largest) {
        statements.push((table.select(rows), format!("SEARCH t {KEYS}")));
        // A conflict is found by the key that it is about; SQLite names no step for it.
        statements.push((table.insert(rows), String::new()));
        statements.push((table.write(rows), String::new()));
        if is_rollup {
            statements.push((table.delete_empty(rows), format!("SEARCH {name} {KEYS}")));
        }
    }
    statements
}

/// The steps of a plan that touch this table, by its name or as `t`; fails where one of any table sorts or makes an index.
async fn steps(connection: &mut SqliteConnection, text: &str, table: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
    let rows = sqlx::query(explain).fetch_all(connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 3)).collect();
    let costly = ["TEMP B-TREE", "AUTOMATIC"];
    assert!(!plan.iter().any(|step| costly.iter().any(|word| step.contains(word))), "{text}: {plan:?}");
    let touches = |step: &String| step.split(' ').nth(1).is_some_and(|name| name == table || name == "t");
    plan.into_iter().filter(touches).collect()
}

#[tokio::test]
async fn keys_are_found_by_the_primary_key_however_large_the_table_and_whatever_is_believed_of_it() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let target = store.storage.target(&live).unwrap();
    let fill = filled();
    for rows in ["", &fill] {
        ddl::run(&mut by_hand(&directory).await, rows.to_owned()).await.unwrap();
        for (belief, make) in beliefs() {
            ddl::run(&mut by_hand(&directory).await, make).await.unwrap();
            // Statistics are read when a connection opens.
            let mut connection = by_hand(&directory).await;
            for table in &target.statements.tables {
                for (text, wanted) in statements(table) {
                    let found = steps(&mut connection, &text, table.shape.name).await;
                    let is_as_wanted =
                        found.iter().all(|step| *step == wanted) && found.is_empty() == wanted.is_empty();
                    assert!(is_as_wanted, "SQLite believes {belief}: {found:?} of {text}");
                }
            }
        }
        ddl::put_statistics(&mut by_hand(&directory).await).await.unwrap();
    }
}
