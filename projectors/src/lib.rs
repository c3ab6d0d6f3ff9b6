//! The read models: projections, rollups, named queries and their sinks.

pub mod limits;
pub mod sinks;
