//! The SQL of one request: the query's text inside a frame that it cannot leave.
//!
//! ```sql
//! WITH RECURSIVE
//!   applications AS NOT MATERIALIZED (
//!     SELECT id, name, … FROM main.applications WHERE tenant_id = $1 AND workspace_id = $2 AND NOT deleted),
//!   …every other table of the read model…
//!   answer AS (…the query's text…)
//! SELECT name, …, name, id FROM answer WHERE status = $3 AND (name, id) > ($4, $5) ORDER BY name, id LIMIT 51
//! ```
//! The tables' names mean the covered ones everywhere inside; a text with a qualified name of a table is refused when
//! the definitions are made ([`check`]). The database merges all of it into one plan over the tables' indexes.

use std::fmt::Write as _;

use annals_engine::sink::Checkpoints;
use annals_model::projection::{Column, ColumnType, OwnedValue, TableKind, TableShape};
use annals_model::query::{Bound, Given, ParameterType, Query, Question, column};

use super::tokens::{Token, tokens};
use crate::sinks::Readers;

/// What every request may say besides the query's own parameters.
const RESERVED: [&str; 3] = ["workspace_id", "limit", "cursor"];

/// A statement and what its `$1`, `$2`, … stand for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) arguments: Vec<OwnedValue>,
}

impl Statement {
    /// Adds an argument; its place-holder.
    fn argument(&mut self, value: OwnedValue) -> String {
        self.arguments.push(value);
        format!("${}", self.arguments.len())
    }
}

/// What a statement is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Database<'a> {
    /// A generation's file.
    Sqlite,
    /// A generation's schema, by name.
    Postgres(&'a str),
}

impl<'a> Database<'a> {
    /// Of these connections.
    pub(super) fn of(readers: &'a Readers) -> Self {
        match readers {
            Readers::Sqlite(_) => Self::Sqlite,
            #[cfg(feature = "postgres")]
            Readers::Postgres(readers) => Self::Postgres(&readers.schema),
        }
    }

    /// Where the generation's tables lie.
    fn schema(self) -> &'a str {
        match self {
            Self::Sqlite => "main",
            Self::Postgres(schema) => schema,
        }
    }

    /// A query's text for it: `/*sqlite: …*/` stands for its content in SQLite, and is a comment elsewhere.
    fn own(self, rows: &str) -> String {
        let mut text = rows.to_owned();
        while self == Self::Sqlite
            && let Some((before, rest)) = text.split_once("/*sqlite:")
            && let Some((own, behind)) = rest.split_once("*/")
        {
            text = [before, own, behind].concat();
        }
        text
    }
}

/// What one transaction saw.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) rows: Vec<Vec<OwnedValue>>,
    pub(super) position: Checkpoints,
}

/// The columns of a query's answer from these tables.
pub(super) fn answered(query: &Query, tables: &[TableShape]) -> Vec<Column> {
    query.columns.of_tables(tables).expect("check() refuses a query of columns of no table")
}

/// The columns that a statement selects, in order.
pub(super) fn selected(query: &Query, tables: &[TableShape]) -> Vec<Column> {
    let mut selected = answered(query, tables);
    selected.extend_from_slice(query.order);
    selected.extend(query.gave_up.map(|name| column(name, ColumnType::Bool)));
    selected
}

/// The statement for a question's page of one generation, and one row more: it tells whether there is a next page.
pub(super) fn build(question: &Question, database: Database<'_>, tables: &[TableShape]) -> Statement {
    let Question { query, tenant, workspace, given, after, limit } = question;
    let mut statement = Statement {
        text: String::with_capacity(2_048),
        arguments: vec![OwnedValue::Uuid(tenant.0), OwnedValue::Uuid(workspace.0)],
    };
    cover_tables(&mut statement.text, database.schema(), tables);
    let text = with_arguments(&mut statement, &database.own(query.rows), given);
    let order = names(query.order.iter().map(|column| column.name));
    let selected = names(selected(query, tables).iter().map(|column| column.name));
    let ordered_from = after.as_ref().and_then(|_| query.order.first()).map(|column| column.name);
    let mut conditions = filters(&mut statement, given, ordered_from);
    if let Some(after) = after {
        let after: Vec<String> = after.iter().map(|value| statement.argument(value.clone())).collect();
        conditions.push(format!("({order}) > ({})", after.join(", ")));
    }
    // Writing to a String cannot fail.
    let _ = write!(statement.text, " answer AS ({text}) SELECT {selected} FROM answer");
    if !conditions.is_empty() {
        let _ = write!(statement.text, " WHERE {}", conditions.join(" AND "));
    }
    let _ = write!(statement.text, " ORDER BY {order} LIMIT {}", limit + 1);
    statement
}

fn cover_tables(text: &mut String, schema: &str, tables: &[TableShape]) {
    text.push_str("WITH RECURSIVE");
    for table in tables {
        let columns = names(["id"].into_iter().chain(table.columns.iter().map(|column| column.name)));
        let living = match table.kind {
            TableKind::Rows(_) => " AND NOT deleted",
            TableKind::Rollup(_) => "",
        };
        let _ = write!(
            text,
            " {name} AS NOT MATERIALIZED (SELECT {columns} FROM {schema}.{name} \
             WHERE tenant_id = $1 AND workspace_id = $2{living}),",
            name = table.name,
        );
    }
}

/// The query's text with place-holders for `:name`.
fn with_arguments(statement: &mut Statement, rows: &str, given: &[Given]) -> String {
    let arguments = given.iter().filter(|given| given.parameter.bound == Bound::Argument);
    let places: Vec<(&str, String)> =
        arguments.map(|given| (given.parameter.name, statement.argument(given.value.clone()))).collect();
    let place = |token| match token {
        Token::Text(text) => text,
        Token::Argument(name) => match places.iter().find(|(given, _)| *given == name) {
            Some((_, place)) => place,
            None => unreachable!("check() refuses a text with any other name; all arguments are required"),
        },
    };
    tokens(rows).map(place).collect()
}

/// The conditions of the filters. Rows behind a cursor are above every lower bound of the first order column already: a
/// second lower bound would keep the index from beginning at the cursor.
fn filters(statement: &mut Statement, given: &[Given], ordered_from: Option<&str>) -> Vec<String> {
    let mut conditions = Vec::new();
    for given in given {
        match (given.parameter.bound, &given.value) {
            (Bound::Argument, _) => {}
            (Bound::Equals(column), value) => {
                let place = statement.argument(value.clone());
                conditions.push(match &given.as_sent {
                    None => format!("{column} = {place}"),
                    Some(sent) => format!("{column} in ({place}, {})", statement.argument(sent.clone())),
                });
            }
            (Bound::Prefix(column), OwnedValue::Text(prefix)) => {
                if ordered_from != Some(column) {
                    let lower = statement.argument(given.value.clone());
                    conditions.push(format!("{column} >= {lower}"));
                }
                if let Some(end) = behind_prefix(prefix) {
                    let upper = statement.argument(OwnedValue::Text(end.into()));
                    conditions.push(format!("{column} < {upper}"));
                }
            }
            (Bound::Prefix(_), _) => unreachable!("check() refuses a prefix of anything but text"),
        }
    }
    conditions
}

/// The least text above all that begin with `prefix`, in byte order; nothing if there is none. Two comparisons use an
/// index as they are, where LIKE would have to be escaped and told not to fold case.
fn behind_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // Surrogates are no characters: the next one behind U+D7FF is U+E000.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            end.push(next);
            return Some(end);
        }
    }
    None
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The names before a dot in a text: aliases, or the schemas of tables that are not covered.
fn qualifiers(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let parts = text.split_inclusive('.').filter_map(|part| part.strip_suffix('.'));
    parts.map(move |part| part.rsplit(|character| !is_name(character)).next().unwrap_or_default())
}

/// True for a table of the read model, an alias, and a subquery with a name.
fn is_declared(name: &str, text: &str, tables: &[TableShape]) -> bool {
    let words = || text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let words = || words().filter(|word| !word.is_empty());
    let is_alias = words().zip(words().skip(1)).any(|(before, word)| before == "as" && word == name);
    is_alias || text.contains(&format!("{name} (")) || tables.iter().any(|table| table.name == name)
}

/// The arguments that a query's text names, in each database.
fn argument_names(query: &Query) -> impl Iterator<Item = Vec<String>> {
    [Database::Sqlite, Database::Postgres("")].into_iter().map(|database| {
        let text = database.own(query.rows);
        tokens(&text)
            .filter_map(|token| match token {
                Token::Text(_) => None,
                Token::Argument(name) => Some(name.to_owned()),
            })
            .collect()
    })
}

/// What is wrong with a query's definition, if anything: mistakes of whoever wrote it.
pub(super) fn check(query: &Query, read_model: &str, tables: &[TableShape]) -> Result<(), String> {
    let text = query.rows.to_ascii_lowercase();
    let reaches_out =
        ["tenant_id", "workspace_id", "annals", "sqlite_", "pragma", "pg_", "_config", "_setting", "\"", "$", "`", "["];
    if !query.name.strip_prefix(read_model).is_some_and(|rest| rest.starts_with('.')) {
        return Err(format!("its name begins with `{read_model}.`"));
    }
    if let Some(token) = reaches_out.iter().find(|token| text.contains(**token)) {
        return Err(format!("its text may not contain `{token}`"));
    }
    if let Some(name) = qualifiers(&text).find(|name| !is_declared(name, &text, tables)) {
        return Err(format!("`{name}.` is no table and no alias of its text"));
    }
    if query.order.is_empty() || query.order.iter().any(|column| column.nullable) {
        return Err("it needs an order by columns that are never null".to_owned());
    }
    if query.order.iter().any(|column| column.column_type == ColumnType::Json) {
        return Err("JSON has no order".to_owned());
    }
    for parameter in query.parameters {
        if RESERVED.contains(&parameter.name) {
            return Err(format!("`{}` is a word of every request", parameter.name));
        }
        let is_text = parameter.parameter_type == ParameterType::Text;
        match parameter.bound {
            Bound::Argument if !parameter.required => return Err(format!("`{}` must be required", parameter.name)),
            Bound::Argument if !argument_names(query).all(|names| names.contains(&parameter.name.to_owned())) => {
                return Err(format!("its text does not use `:{}`", parameter.name));
            }
            Bound::Prefix(_) if !is_text => return Err(format!("`{}` must be text", parameter.name)),
            _ => {}
        }
    }
    let is_argument = |name: &str| query.parameter(name).is_some_and(|parameter| parameter.bound == Bound::Argument);
    if let Some(unknown) = argument_names(query).flatten().find(|name| !is_argument(name)) {
        return Err(format!("`:{unknown}` in its text is no argument"));
    }
    if query.columns.of_tables(tables).is_none() {
        return Err("its columns are those of no table of its read model".to_owned());
    }
    if query.any_of.iter().any(|name| query.parameter(name).is_none()) {
        return Err("one of `any_of` is no parameter".to_owned());
    }
    if tables.iter().all(|table| !text.contains(table.name)) {
        return Err("it reads no table of its read model".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
