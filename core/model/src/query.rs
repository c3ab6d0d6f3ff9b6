//! What can be asked of a read model, and how a request becomes a checked question: data, so that catalogue, checks and
//! whatever a store asks its database all come from the same lines. Nothing here answers.

mod catalogue;
mod columns;
mod cursor;
mod error;
mod parameter;
mod question;

pub use self::catalogue::{ColumnDescription, ParameterDescription, QueryDescription, catalogue, describe_all};
pub use self::columns::Columns;
pub use self::cursor::CursorKey;
pub use self::error::QuestionError;
pub use self::parameter::Given;
pub use self::question::{QueryRequest, Question};
use crate::projection::{Column, ColumnType};

/// A named query of one version of one read model.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// `<read model>.<noun>`: the last part of its address.
    pub name: &'static str,
    /// What it answers, for people.
    pub doc: &'static str,
    /// Whose rows it sees.
    pub scope: QueryScope,
    /// All parameters that it takes; any other is refused.
    pub parameters: &'static [Parameter],
    /// Parameters of which at least one must be given; empty = no such rule.
    pub any_of: &'static [&'static str],
    /// What an answer's rows have, in order.
    pub columns: Columns,
    /// Columns of `rows` by which the answer is ordered, ascending. None is ever null, and together they are unique.
    pub order: &'static [Column],
    /// A SELECT with at least the columns of `columns` and `order`, over the read model's tables by their bare names;
    /// each has `id` and its own columns, without deleted rows. A parameter with [`Bound::Argument`] is `:name`.
    pub rows: &'static str,
    /// The aggregates whose ids its rows have, where one is found by a name that people know it by.
    pub names: Option<Names>,
    /// A boolean column of `rows`, for a query that bounds its work: true in a row that stands for "not finished".
    pub gave_up: Option<&'static str>,
}

/// How a query finds an aggregate by the name that people know it by: its `id` column is that of the aggregate.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// `<context>.<aggregate>`.
    pub aggregate_type: &'static str,
    /// The parameter that takes the name.
    pub parameter: &'static str,
}

/// Whose rows a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryScope {
    /// Those of the tenant as a whole; the request names no workspace.
    Tenant,
    /// Those of the workspace that the request names.
    Workspace,
}

impl QueryScope {
    /// Lower-case name, for the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Workspace => "workspace",
        }
    }
}

/// One parameter of a query.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name in the request.
    pub name: &'static str,
    /// What it may hold.
    pub parameter_type: ParameterType,
    /// Must be given.
    pub required: bool,
    /// What it does.
    pub bound: Bound,
    /// What it means, for people.
    pub doc: &'static str,
}

/// What a parameter may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// A UUID.
    Uuid,
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Int,
    /// `true` or `false`.
    Bool,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// What a parameter does to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Only rows with this value in a column of [`Query::rows`].
    Equals(&'static str),
    /// Only rows whose text in a column of [`Query::rows`] begins like this.
    Prefix(&'static str),
    /// A value that [`Query::rows`] itself uses, as `:name`. The parameter is required.
    Argument,
}

impl Query {
    /// What a query of the tenant's own rows has besides: no parameters, no rules. It is completed by the rest:
    /// `Query { name, doc, columns, order, rows, ..Query::OF_TENANT }`.
    pub const OF_TENANT: Self = Self::of(QueryScope::Tenant);
    /// The same of a workspace's rows.
    pub const OF_WORKSPACE: Self = Self::of(QueryScope::Workspace);

    const fn of(scope: QueryScope) -> Self {
        let columns = Columns::Listed(&[]);
        Self {
            name: "",
            doc: "",
            scope,
            parameters: &[],
            any_of: &[],
            columns,
            order: &[],
            rows: "",
            names: None,
            gave_up: None,
        }
    }

    /// True where the work of an answer is not bounded by its page.
    pub const fn is_walk(&self) -> bool {
        self.gave_up.is_some()
    }

    /// The parameter with this name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }
}

impl Parameter {
    /// An optional filter: rows whose column of the same name has the value.
    pub const fn filter(name: &'static str, parameter_type: ParameterType, doc: &'static str) -> Self {
        Self { name, parameter_type, required: false, bound: Bound::Equals(name), doc }
    }
    /// An optional filter: rows whose text in `column` begins like the value.
    pub const fn prefix(name: &'static str, column: &'static str, doc: &'static str) -> Self {
        Self { name, parameter_type: ParameterType::Text, required: false, bound: Bound::Prefix(column), doc }
    }
    /// A value that the query's text needs.
    pub const fn argument(name: &'static str, parameter_type: ParameterType, doc: &'static str) -> Self {
        Self { name, parameter_type, required: true, bound: Bound::Argument, doc }
    }
    /// The same, filtering another column.
    #[must_use]
    pub const fn on(self, column: &'static str) -> Self {
        Self { bound: Bound::Equals(column), ..self }
    }
    /// The same, but it must be given.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// A column that is never null.
pub const fn column(name: &'static str, column_type: ColumnType) -> Column {
    Column { name, column_type, nullable: false }
}

/// A column that may be null.
pub const fn nullable(name: &'static str, column_type: ColumnType) -> Column {
    Column { name, column_type, nullable: true }
}
