//! A version of a read model as a build carries it: its projections, its tables' DDL, its queries.

use std::sync::Arc;

use crate::projection::ReadModel;
use crate::query::Query;

/// One version of one read model.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Projections and rollups.
    pub model: Arc<ReadModel>,
    /// Its tables and indexes, frozen: `migrations/<name>/v<version>.sql`. `CREATE TABLE` statements, each ending in
    /// `/*table options*/`; below a line `-- indexes` the indexes.
    pub ddl: &'static str,
    /// What can be asked of it.
    pub queries: &'static [Query],
}

/// The newest version of each read model.
pub fn newest(definitions: &[Definition]) -> impl Iterator<Item = &Definition> {
    definitions.iter().filter(|definition| {
        let same_name = definitions.iter().filter(|other| other.model.name() == definition.model.name());
        same_name.map(|other| other.model.version()).max() == Some(definition.model.version())
    })
}
