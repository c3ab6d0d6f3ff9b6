//! Tables and indexes of one version of a read model as SQL, made of their shapes: one text for both databases, but for
//! what a database has of its own.

use std::fmt::Write as _;

use annals_model::projection::{ColumnType, Index, ReadModel, TableShape};

use crate::sinks::shape::{KEY, TypeName, is_of_rows, type_name};
use crate::sinks::sqlite::values::type_name as sqlite_type_name;

/// Longest line of the text that is recorded.
const LINE_CHARS_MAX: usize = 120;

/// What a database has of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// Behind each table's closing parenthesis.
    pub(super) table_options: &'static str,
    /// Its name of a type.
    pub(super) type_name: TypeName,
}

/// The statements that create the tables.
pub(super) fn tables(model: &ReadModel, dialect: Dialect) -> String {
    let each = |shape| table(shape, dialect.table_options, |of| (dialect.type_name)(of).to_owned());
    model.tables().iter().map(each).collect()
}

/// The statements that create the indexes, behind the rows of a bulk load; may be empty.
pub(super) fn indexes(model: &ReadModel) -> String {
    model.tables().iter().flat_map(|shape| shape.indexes.iter().map(move |one| index(shape, one))).collect()
}

/// What every store makes of a version of a read model, as it is recorded in `migrations/<name>/v<version>.sql`: what was
/// released is compared with it for ever.
pub fn ddl(model: &ReadModel) -> String {
    let recorded_type = |of| match (type_name(of), sqlite_type_name(of)) {
        (name, sqlite) if name == sqlite => name.to_owned(),
        (name, sqlite) => format!("{name} /*sqlite: {sqlite}*/"),
    };
    let mut text = format!(
        "-- Read model {}, version {}. Frozen: what differs is a new version.\n",
        model.name(),
        model.version()
    );
    for shape in model.tables() {
        text.push('\n');
        text.push_str(&table(shape, "/*table options*/", recorded_type));
    }
    let indexes = indexes(model);
    if !indexes.is_empty() {
        text.push_str("\n-- indexes\n\n");
        text.push_str(&indexes);
    }
    text
}

// Writing to a String cannot fail: what `write!` answers in the following is not looked at.

fn table(shape: &TableShape, options: &str, type_name: impl Fn(ColumnType) -> String) -> String {
    let mut text = format!("CREATE TABLE {} (\n", shape.name);
    let mut column = |name: &str, type_name: &str, nullable: bool| {
        let _ = writeln!(text, "    {name} {type_name}{},", if nullable { "" } else { " NOT NULL" });
    };
    KEY.iter().for_each(|name| column(name, "uuid", false));
    shape.columns.iter().for_each(|own| column(own.name, &type_name(own.column_type), own.nullable));
    if is_of_rows(shape) {
        column("deleted", "boolean", false);
    }
    let _ = writeln!(text, "    PRIMARY KEY ({})\n) {options};", KEY.join(", "));
    text
}

fn index(shape: &TableShape, index: &Index) -> String {
    let [tenant, workspace, id] = KEY;
    let columns: Vec<&str> = [tenant, workspace].iter().chain(index.columns).chain([&id]).copied().collect();
    let name = format!("CREATE INDEX {}_{}", shape.name, index.name);
    let of = format!("ON {} ({});", shape.name, columns.join(", "));
    let gap = if name.len() + 1 + of.len() > LINE_CHARS_MAX { "\n    " } else { " " };
    format!("{name}{gap}{of}\n")
}
