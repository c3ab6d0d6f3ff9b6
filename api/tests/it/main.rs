//! The HTTP surface over real connections, with the real engine and domain behind it.
#![expect(clippy::unwrap_used, reason = "what fails in a test's own tools fails the test")]

mod aggregates;
mod bad_input;
mod batches;
mod catalogue;
mod cloud_events;
mod cluster;
mod commands;
mod connections;
mod encodings;
mod faults;
mod held_log;
mod isolation;
mod moving;
mod mutations;
mod peer;
mod queries;
mod raw;
mod schemas;
mod server;
mod slow_clients;
mod stops;
mod stuck_log;
mod unheard;
