//! The HTTP surface: commands, operations, aggregates, queries, read models, health.

pub mod auth;
pub mod limits;
