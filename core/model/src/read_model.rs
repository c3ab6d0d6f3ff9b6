//! A version of a read model as a build carries it: its projections and its queries.

use std::convert::Infallible;
use std::sync::Arc;

use crate::projection::ReadModel;
use crate::query::Query;

/// What a read model holds for whoever asks, and so which storage it lies in and in what language it is asked. The list is
/// whole; a kind that nothing stores yet cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Rows of tables, asked in SQL.
    Tables,
    /// Documents of a full-text index.
    Documents(Infallible),
    /// Nodes and edges.
    Graph(Infallible),
}

/// One version of one read model.
#[derive(Clone, Debug)]
pub struct Definition {
    /// What it holds.
    pub contents: Contents,
    /// Projections and rollups: what a store makes its tables and indexes of.
    pub model: Arc<ReadModel>,
    /// What can be asked of it.
    pub queries: &'static [Query],
    /// The first release that does not carry this version any more; nothing = it stays for now. Whoever has a generation of
    /// it is warned, and rebuilds before going there.
    pub leaves_with: Option<&'static str>,
}

impl Definition {
    /// A version with tables, which stays for now. Panics on a query without name, rows or order: a mistake in the program's text.
    pub fn new(model: impl Into<Arc<ReadModel>>, queries: &'static [Query]) -> Self {
        for query in queries {
            let complete = !query.name.is_empty() && !query.rows.is_empty() && !query.order.is_empty();
            assert!(complete, "query {:?} has no name, no rows or no order", query.name);
        }
        Self { contents: Contents::Tables, model: model.into(), queries, leaves_with: None }
    }

    /// The same, carried until this release.
    #[must_use]
    pub fn leaves_with(self, release: &'static str) -> Self {
        Self { leaves_with: Some(release), ..self }
    }
}

/// The newest version of each read model.
pub fn newest(definitions: &[Definition]) -> impl Iterator<Item = &Definition> {
    definitions.iter().filter(|definition| {
        let same_name = definitions.iter().filter(|other| other.model.name() == definition.model.name());
        same_name.map(|other| other.model.version()).max() == Some(definition.model.version())
    })
}

#[cfg(test)]
mod tests;
