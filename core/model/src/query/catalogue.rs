//! What may be asked, for people and programs: the queries of the read models, described.

use serde::Serialize;

use super::{ParameterType, Query};
use crate::limits;
use crate::read_model::{Definition, newest};

/// One query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryDescription {
    /// The last part of its address.
    pub name: &'static str,
    /// What it answers.
    pub doc: &'static str,
    /// Whose tables it reads.
    pub read_model: &'static str,
    /// The version that this describes.
    pub version: u32,
    /// `tenant` or `workspace`; the latter needs a workspace id.
    pub scope: &'static str,
    /// What it takes.
    pub parameters: Vec<ParameterDescription>,
    /// At least one of these parameters must be given; empty = no such rule.
    pub any_of: &'static [&'static str],
    /// What its rows have.
    pub columns: Vec<ColumnDescription>,
    /// Columns by which its rows are ordered.
    pub order: Vec<&'static str>,
    /// Rows per page unless the request says otherwise.
    pub limit_default: u32,
    /// Most rows per page.
    pub limit_max: u32,
}

/// One parameter of a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParameterDescription {
    /// Its name.
    pub name: &'static str,
    /// `uuid`, `text`, `int`, `bool` or `enum`.
    #[serde(rename = "type")]
    pub parameter_type: &'static str,
    /// The words of an `enum`; empty for the others.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub values: &'static [&'static str],
    /// Must be given.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

/// One column of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDescription {
    /// Its name.
    pub name: &'static str,
    /// `uuid`, `text`, `int`, `bool`, `timestamp`, `float` or `json`.
    #[serde(rename = "type")]
    pub column_type: &'static str,
    /// May be null.
    pub nullable: bool,
}

/// The queries of the newest version of every read model, by name.
pub fn catalogue(definitions: &[Definition]) -> Vec<QueryDescription> {
    let mut queries: Vec<QueryDescription> = newest(definitions).flat_map(describe_all).collect();
    queries.sort_unstable_by_key(|query| query.name);
    queries
}

/// The queries of one version of a read model, in the order of its definition.
pub fn describe_all(definition: &Definition) -> impl Iterator<Item = QueryDescription> + '_ {
    definition.queries.iter().map(|query| describe(query, definition))
}

fn describe(query: &'static Query, definition: &Definition) -> QueryDescription {
    let parameters = query.parameters.iter().map(|parameter| ParameterDescription {
        name: parameter.name,
        parameter_type: parameter_type(parameter.parameter_type),
        values: match parameter.parameter_type {
            ParameterType::OneOf(words) => words,
            ParameterType::Uuid | ParameterType::Text | ParameterType::Int | ParameterType::Bool => &[],
        },
        required: parameter.required,
        doc: parameter.doc,
    });
    let columns = query.columns.of_tables(definition.model.tables()).unwrap_or_default();
    let columns = columns.iter().map(|column| ColumnDescription {
        name: column.name,
        column_type: column.column_type.name(),
        nullable: column.nullable,
    });
    QueryDescription {
        name: query.name,
        doc: query.doc,
        read_model: definition.model.name(),
        version: definition.model.version(),
        scope: query.scope.as_str(),
        parameters: parameters.collect(),
        any_of: query.any_of,
        columns: columns.collect(),
        order: query.order.iter().map(|column| column.name).collect(),
        limit_default: limits::QUERY_PAGE_ROWS_DEFAULT,
        limit_max: limits::QUERY_PAGE_ROWS_MAX,
    }
}

const fn parameter_type(parameter_type: ParameterType) -> &'static str {
    match parameter_type {
        ParameterType::Uuid => "uuid",
        ParameterType::Text => "text",
        ParameterType::Int => "int",
        ParameterType::Bool => "bool",
        ParameterType::OneOf(_) => "enum",
    }
}
