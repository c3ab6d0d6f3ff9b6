//! The read models: projections, rollups, named queries and their sinks.
