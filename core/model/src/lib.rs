//! The words of Annals as types, and everything pure.
//!
//! Domain code (schemas, aggregates, projections) sees this crate and nothing else of the engine, so that its
//! purity shows in `cargo metadata`: there is no I/O, no clock and no randomness to be had from here.

#![warn(missing_docs)]

pub mod aggregate;
pub mod application;
pub mod avro;
pub mod canonical;
pub mod command_json;
pub mod context;
pub mod engine_record;
pub mod envelope;
pub mod event;
pub mod ids;
pub mod limits;
pub mod position;
pub mod projection;
pub mod query;
pub mod read_model;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod time;

/// For generated code, so that an application names no library of ours.
#[doc(hidden)]
pub mod __private {
    pub use serde;
    pub use serde_json;
}
