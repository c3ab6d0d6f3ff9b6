//! The HTTP surface: commands, operations, aggregates, queries, read models, health.
//!
//! A request passes: connection cap ([`serve`]) → trace and deadline → token → its body → a place for its kind of work, its
//! tenant and what it needs → its route. Whatever is wrong with it is answered by a problem document; nothing that a client
//! sends makes a 500.

pub mod auth;
mod batch;
mod command;
pub mod consistency;
pub mod data_dir;
mod descriptors;
mod document;
pub mod endpoint;
mod event;
mod fields;
pub mod limits;
mod media;
pub mod node;
mod owners;
mod peers;
mod places;
pub mod problem;
#[cfg(feature = "kafka")]
pub mod process;
mod read_models;
mod registry;
mod routes;
mod server;
mod shared;
mod text_response;
mod trace;

pub use server::{ServeError, serve};
pub use shared::{Api, ApiOptions};

/// Version of the HTTP contract: in every body, and in the header `Contract-Version`.
pub const CONTRACT_VERSION: &str = "1.0";
