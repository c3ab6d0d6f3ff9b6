//! What PostgreSQL makes of every statement with keys or pages: the primary key's index, whatever it believes.

use std::sync::Arc;

use annals_model::projection::{ColumnType, Float, TableKind, Value};
use annals_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgArguments;
use uuid::Uuid;

use super::super::statements::{Statements, TableStatements};
use super::super::values::{Arrays, arguments};
use super::*;

/// Rows of the large tables: twice as many as make PostgreSQL choose wrongly where it has a choice.
const ROWS: u32 = 100_000;
const BATCHES: [usize; 3] = [1, 100, 10_000];

/// Fills the tables of `stock` as a run of years leaves them: many workspaces, ids that stand in several of them.
fn fill(database: &Database) {
    let id = |of: &str| format!("lpad(to_hex({of}), 32, '0')::uuid");
    let key = format!("{}, {}, {}", id("n % 3"), id("n % 100"), id("n / 10"));
    let statements = format!(
        "ALTER TABLE stock_g1.items SET (autovacuum_enabled = off);
         ALTER TABLE stock_g1.visits SET (autovacuum_enabled = off);
         ALTER TABLE stock_g1.shelf_totals SET (autovacuum_enabled = off);
         INSERT INTO stock_g1.items SELECT {key}, 'nail', 'front', NULL, false, {}, now(), NULL, '{{}}', 1, false
             FROM generate_series(1, {ROWS}) AS n;
         INSERT INTO stock_g1.visits SELECT {key}, {}, 'front', 1, false FROM generate_series(1, {ROWS}) AS n;
         INSERT INTO stock_g1.shelf_totals SELECT {key}, 'front', 0, 0 FROM generate_series(1, {ROWS}) AS n;",
        id("n"),
        id("n")
    );
    shared().unwrap().sql(&database.name, &statements).unwrap();
}

/// Wrong things that PostgreSQL may believe of the tables, and a right one.
const BELIEFS: [(&str, &str); 5] = [
    ("nothing", ""),
    ("the truth", "ANALYZE stock_g1.items, stock_g1.visits, stock_g1.shelf_totals"),
    (
        "that they are empty",
        "UPDATE pg_class SET reltuples = 0, relpages = 1 WHERE relname IN ('items', 'visits', 'shelf_totals')",
    ),
    (
        "that they are vast",
        "UPDATE pg_class SET reltuples = 1e12, relpages = 1 WHERE relname IN ('items', 'visits', 'shelf_totals')",
    ),
    (
        "that all rows have one key",
        "ALTER TABLE stock_g1.items ALTER tenant_id SET (n_distinct = 1), ALTER workspace_id SET (n_distinct = 1),
             ALTER id SET (n_distinct = 1);
         ALTER TABLE stock_g1.shelf_totals ALTER tenant_id SET (n_distinct = 1),
             ALTER workspace_id SET (n_distinct = 1), ALTER id SET (n_distinct = 1);
         ANALYZE stock_g1.items, stock_g1.visits, stock_g1.shelf_totals",
    ),
];

/// Arrays of so many rows, whose keys are there.
fn batch(types: &[ColumnType], rows: usize) -> Arrays {
    let mut arrays = Arrays::default();
    arrays.begin(types);
    for n in 1..=rows as u128 {
        for (place, number) in [n % 3, n % 100, n / 10].into_iter().enumerate() {
            arrays.push(place, Value::Uuid(Uuid::from_u128(number))).unwrap();
        }
        for (place, column_type) in types.iter().enumerate().skip(3) {
            let value = match column_type {
                ColumnType::Bool => Value::Bool(false),
                ColumnType::Int => Value::Int(0),
                ColumnType::Text => Value::Text("front"),
                ColumnType::Uuid => Value::Uuid(Uuid::nil()),
                ColumnType::Timestamp => Value::Timestamp(Timestamp(1)),
                ColumnType::Float => Value::Float(Float::default()),
                ColumnType::Json => Value::Json("{}"),
            };
            arrays.push(place, value).unwrap();
        }
    }
    arrays
}

/// The plan of a statement with these very values, as the first executions of a prepared one have it.
async fn plan(connection: &mut PgConnection, statement: &str, arguments: PgArguments) -> String {
    let text = AssertSqlSafe(format!("EXPLAIN {statement}"));
    let steps = sqlx::query_with(text, arguments).fetch_all(connection).await.unwrap();
    steps.iter().map(|step| step.get::<String, _>(0) + "\n").collect()
}

/// The plan for values that are not known yet, as later executions have it.
async fn generic_plan(connection: &mut PgConnection, statement: &str, values: usize) -> String {
    let nulls = vec!["NULL"; values].join(", ");
    let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE asked AS {statement}");
    run(connection, &prepare).await.unwrap();
    let steps = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE asked({nulls})"))).fetch_all(&mut *connection);
    let plan = steps.await.unwrap().iter().map(|step| step.get::<String, _>(0) + "\n").collect();
    run(connection, "DEALLOCATE asked; RESET plan_cache_mode").await.unwrap();
    plan
}

/// Every look at the table goes through its primary key, and nothing is compared with everything.
fn probes(plan: &str, table: &str) {
    let costly = ["Seq Scan", "Bitmap", "Hash", "Merge", "Materialize", "Sort", "Parallel", "JIT"];
    let found = costly.iter().find(|step| plan.contains(**step));
    assert!(found.is_none(), "{table}: {found:?} in\n{plan}");
    let index = format!("{table}_pkey");
    assert!(plan.contains(&index), "{table}:\n{plan}");
    let scans = plan.matches(" Scan").count();
    let of_index = plan.matches(&format!("using {index} on")).count();
    let others = ["Function Scan on", "Tid Scan on", "Subquery Scan on"].map(|scan| plan.matches(scan).count());
    assert_eq!(scans, of_index + others.iter().sum::<usize>(), "{table}:\n{plan}");
}

/// All statements of a writer about a table.
fn statements(table: &TableStatements) -> Vec<(&Arc<str>, usize)> {
    let mut statements = vec![(&table.select, 3), (&table.write, table.types.len())];
    if matches!(table.shape.kind, TableKind::Rollup(_)) {
        statements.push((&table.delete_empty, 3));
    }
    statements
}

#[tokio::test]
async fn keys_are_found_by_the_index_however_large_the_table_and_whatever_is_believed_of_it() {
    let database = database();
    let (store, model) = (store(&database).await, stock::stock_v1());
    store.ensure_live(&model).await.unwrap().unwrap();
    fill(&database);
    let all = Statements::new(&model, "stock_g1");
    for (belief, make) in BELIEFS {
        shared().unwrap().sql(&database.name, make).unwrap();
        let mut writer = connect::connect(&store.storage.address.writer()).await.unwrap();
        let mut snapshot = connect::connect(&store.storage.address.snapshot()).await.unwrap();
        println!("PostgreSQL believes {belief}");
        for table in &all.tables {
            for rows in BATCHES {
                let arrays = batch(&table.types, rows);
                for (statement, columns) in statements(table) {
                    let plan = plan(&mut writer, statement, arrays.arguments(columns).unwrap()).await;
                    probes(&plan, table.shape.name);
                }
            }
            for (statement, columns) in statements(table) {
                probes(&generic_plan(&mut writer, statement, columns).await, table.shape.name);
            }
            for (page, keys) in [(&table.pages.after, 3), (&table.pages.first, 0)] {
                let values = || std::iter::repeat_n(Value::Uuid(Uuid::from_u128(1)), keys);
                let values = arguments(values().chain([Value::Int(1_000)])).unwrap();
                let plan = plan(&mut snapshot, page, values).await;
                probes(&plan, table.shape.name);
                assert_eq!(keys == 0, !plan.contains("Index Cond: (ROW("), "{plan}");
                probes(&generic_plan(&mut snapshot, page, keys + 1).await, table.shape.name);
            }
        }
    }
}

#[tokio::test]
async fn a_batch_reads_and_writes_its_own_rows_of_a_large_table_and_no_others() {
    let database = database();
    let (store, model) = (store(&database).await, stock::stock_v1());
    store.ensure_live(&model).await.unwrap().unwrap();
    let id = |of: &str| format!("lpad(to_hex({of}), 32, '0')::uuid");
    let rows = format!(
        "INSERT INTO stock_g1.shelf_totals SELECT {}, {}, {}, 'front', n % 2, 0 FROM generate_series(0, 49999) AS n",
        id("n % 3"),
        id("n % 100"),
        id("n / 10")
    );
    shared().unwrap().sql(&database.name, &rows).unwrap();
    let all = Statements::new(&model, "stock_g1");
    let table = all.tables.iter().find(|table| table.shape.name == "shelf_totals").unwrap();
    let mut writer = connect::connect(&store.storage.address.writer()).await.unwrap();
    let arrays = batch(&table.types, 10_000);
    let arguments = || arrays.arguments(3).unwrap();
    let found =
        sqlx::query_with(AssertSqlSafe(table.select.clone()), arguments()).fetch_all(&mut writer).await.unwrap();
    assert_eq!(found.len(), 10_000);
    let delete = sqlx::query_with(AssertSqlSafe(table.delete_empty.clone()), arguments());
    // Every second one of 1 to 10,000.
    assert_eq!(delete.execute(&mut writer).await.unwrap().rows_affected(), 5_000);
    let found =
        sqlx::query_with(AssertSqlSafe(table.select.clone()), arguments()).fetch_all(&mut writer).await.unwrap();
    assert_eq!(found.len(), 5_000);
    assert_eq!(count(&mut writer, "stock_g1.shelf_totals").await.unwrap(), 45_000);
}
