//! The tables that a version of a read model must have in any relational store, and how those found differ.

use std::collections::BTreeMap;

use annals_engine::sink::SinkError;
use annals_model::projection::{ColumnType, ReadModel, TableKind, TableShape};

/// The sinks' own tables.
const OWN_PREFIX: &str = "annals_";
/// Columns of every table's primary key, in order.
pub(super) const KEY: [&str; 3] = ["tenant_id", "workspace_id", "id"];

/// A column as a database declares it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// As [`type_name`] has it.
    pub(super) column_type: String,
    pub(super) nullable: bool,
    /// Place in the primary key from 1; 0 for the others.
    pub(super) key: i64,
}

/// The tables of a database, by name, each with its columns.
pub(super) type Found = BTreeMap<String, BTreeMap<String, Declared>>;

/// Refuses tables that are not the definition's.
pub(super) fn refuse(model: &ReadModel, difference: Option<String>) -> Result<(), SinkError> {
    let refused =
        |difference| SinkError::Shape { read_model: model.name().to_owned(), version: model.version(), difference };
    difference.map(refused).map_or(Ok(()), Err)
}

/// Compares the tables of a database with a read model's definition; the first difference by name, if there is one.
pub(super) fn difference(model: &ReadModel, found: &Found, type_name: TypeName) -> Option<String> {
    for shape in model.tables() {
        let Some(columns) = found.get(shape.name) else {
            return Some(format!("table `{}` is missing", shape.name));
        };
        if let Some(difference) = column_difference(shape, columns, type_name) {
            return Some(format!("table `{}`: {difference}", shape.name));
        }
    }
    let surplus = found
        .keys()
        .find(|name| !name.starts_with(OWN_PREFIX) && !model.tables().iter().any(|shape| shape.name == name.as_str()));
    surplus.map(|name| format!("table `{name}` is in no projection and no rollup"))
}

fn column_difference(shape: &TableShape, found: &BTreeMap<String, Declared>, type_name: TypeName) -> Option<String> {
    let wanted = wanted_columns(shape, type_name);
    for (name, declared) in &wanted {
        match found.get(*name) {
            None => return Some(format!("column `{name}` is missing")),
            Some(column) if column != declared => {
                return Some(format!("column `{name}` is {}, the definition needs {}", show(column), show(declared)));
            }
            Some(_) => {}
        }
    }
    found
        .keys()
        .find(|name| !wanted.contains_key(name.as_str()))
        .map(|name| format!("column `{name}` is not in the definition"))
}

fn wanted_columns(shape: &TableShape, type_name: TypeName) -> BTreeMap<&str, Declared> {
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

/// What a database calls a type.
pub(super) type TypeName = fn(ColumnType) -> &'static str;

/// The name of a type where tables are made and compared.
pub(super) const fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Bool => "boolean",
        ColumnType::Int => "bigint",
        ColumnType::Text => "text",
        ColumnType::Uuid => "uuid",
        ColumnType::Timestamp => "timestamptz",
        ColumnType::Float => "double precision",
        // Not jsonb, which gives other bytes back than it got.
        ColumnType::Json => "json",
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
