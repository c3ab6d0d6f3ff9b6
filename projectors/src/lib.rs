//! The read models: projections, rollups, named queries and their sinks.

pub mod access;
pub mod definition;
pub mod deployment;
#[cfg(test)]
mod history;
pub mod limits;
pub mod portfolio;
pub mod process;
pub mod queries;
pub mod sinks;
mod word;

pub use definition::{Definition, definitions, newest};
