//! The platform's read models: projections, rollups and named queries. Pure: what an event does to a row, what can be asked.

pub mod access;
pub mod portfolio;

use annals_model::read_model::Definition;

/// Every version of every read model that this build carries; versions of one read model ascend. The newest one is what
/// a new deployment begins with; afterwards the promoted generation decides what is served.
pub fn definitions() -> Vec<Definition> {
    [access::definitions(), portfolio::definitions()].concat()
}

#[cfg(test)]
mod tests;
