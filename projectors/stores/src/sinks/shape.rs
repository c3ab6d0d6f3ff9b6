//! The frozen DDL of one version of a read model, which every relational store runs, and what it must have made.

use std::collections::BTreeMap;

use annals_model::projection::{ColumnType, ReadModel, TableKind, TableShape};

/// Where a store may want table options of its own.
const TABLE_OPTIONS: &str = "/*table options*/";
/// Everything below this line is built after a bulk load.
const INDEXES: &str = "-- indexes";
/// The sinks' own tables.
const OWN_PREFIX: &str = "annals_";
/// Columns of every table's primary key, in order.
pub(super) const KEY: [&str; 3] = ["tenant_id", "workspace_id", "id"];

/// The statements that create the tables, with a store's options.
pub(super) fn tables(ddl: &str, options: &str) -> String {
    split(ddl).0.replace(TABLE_OPTIONS, options)
}

/// The statements that create the indexes; may be empty.
pub(super) fn indexes(ddl: &str) -> &str {
    split(ddl).1
}

fn split(ddl: &str) -> (&str, &str) {
    let mut start = 0;
    for line in ddl.split_inclusive('\n') {
        if line.trim() == INDEXES {
            return (&ddl[..start], &ddl[start + line.len()..]);
        }
        start += line.len();
    }
    (ddl, "")
}

/// A column as a database declares it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// As the DDL names it.
    pub(super) column_type: String,
    pub(super) nullable: bool,
    /// Place in the primary key from 1; 0 for the others.
    pub(super) key: i64,
}

/// The tables of a database, by name, each with its columns.
pub(super) type Found = BTreeMap<String, BTreeMap<String, Declared>>;

/// Compares the tables of a database with a read model's definition; the first difference by name, if there is one.
pub(super) fn difference(model: &ReadModel, found: &Found) -> Option<String> {
    for shape in model.tables() {
        let Some(columns) = found.get(shape.name) else {
            return Some(format!("table `{}` is missing in the DDL", shape.name));
        };
        if let Some(difference) = column_difference(shape, columns) {
            return Some(format!("table `{}`: {difference}", shape.name));
        }
    }
    let surplus = found
        .keys()
        .find(|name| !name.starts_with(OWN_PREFIX) && !model.tables().iter().any(|shape| shape.name == name.as_str()));
    surplus.map(|name| format!("table `{name}` of the DDL is in no projection and no rollup"))
}

fn column_difference(shape: &TableShape, found: &BTreeMap<String, Declared>) -> Option<String> {
    let wanted = wanted_columns(shape);
    for (name, declared) in &wanted {
        match found.get(*name) {
            None => return Some(format!("column `{name}` is missing in the DDL")),
            Some(column) if column != declared => {
                return Some(format!("column `{name}` is {}, the definition needs {}", show(column), show(declared)));
            }
            Some(_) => {}
        }
    }
    found
        .keys()
        .find(|name| !wanted.contains_key(name.as_str()))
        .map(|name| format!("column `{name}` of the DDL is not in the definition"))
}

fn wanted_columns(shape: &TableShape) -> BTreeMap<&str, Declared> {
    let mut wanted: BTreeMap<&str, Declared> = KEY
        .into_iter()
        .zip(1..)
        .map(|(name, key)| (name, Declared { column_type: "uuid".to_owned(), nullable: false, key }))
        .collect();
    for column in &shape.columns {
        let column_type = type_name(column.column_type).to_owned();
        wanted.insert(column.name, Declared { column_type, nullable: column.nullable, key: 0 });
    }
    if is_of_rows(shape) {
        wanted.insert("deleted", Declared { column_type: "boolean".to_owned(), nullable: false, key: 0 });
    }
    wanted
}

/// The DDL's name of a type.
pub(super) const fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Bool => "boolean",
        ColumnType::Int => "bigint",
        ColumnType::Text => "text",
        ColumnType::Uuid => "uuid",
        ColumnType::Timestamp => "timestamptz",
    }
}

fn show(column: &Declared) -> String {
    let null = if column.nullable { "" } else { " NOT NULL" };
    let key = if column.key == 0 { String::new() } else { format!(" (place {} in the primary key)", column.key) };
    format!("{}{null}{key}", column.column_type)
}

/// True for a table of rows, which keeps tombstones; false for a rollup's.
pub(super) const fn is_of_rows(shape: &TableShape) -> bool {
    matches!(shape.kind, TableKind::Rows(_))
}

/// All columns of a table, in order: the key, its own, and whether the row is a tombstone.
pub(super) fn all_columns(shape: &TableShape) -> Vec<&'static str> {
    let own = shape.columns.iter().map(|column| column.name);
    KEY.into_iter().chain(own).chain(is_of_rows(shape).then_some("deleted")).collect()
}

/// The sums of a rollup: every column behind the group's.
pub(super) fn measures(shape: &TableShape) -> impl Iterator<Item = &'static str> + '_ {
    shape.columns[shape.columns.len() - shape.measures..].iter().map(|column| column.name)
}

/// A name as SQL takes it whatever it is.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quoted names, comma-separated.
pub(super) fn joined(names: &[&str]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}
