//! A version of a read model as this build carries it: its projections, its tables' DDL, its queries.

use std::sync::Arc;

use annals_model::projection::ReadModel;

use crate::queries::Query;
use crate::sinks::ReadModelDefinition;

/// One version of one read model.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Projections and rollups.
    pub model: Arc<ReadModel>,
    /// Its tables and indexes, frozen: `migrations/<name>/v<version>.sql`.
    pub ddl: &'static str,
    /// What can be asked of it.
    pub queries: &'static [Query],
}

impl Definition {
    /// What a store keeps: everything but the queries.
    pub fn stored(&self) -> ReadModelDefinition {
        ReadModelDefinition { model: self.model.clone(), ddl: self.ddl }
    }
}

/// Every version of every read model that this build carries; versions of one read model ascend. The newest one is what
/// a new deployment begins with; afterwards the promoted generation decides what is served.
pub fn definitions() -> Vec<Definition> {
    [crate::access::definitions(), crate::portfolio::definitions()].concat()
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
