//! What crosses crates: dependencies, several processes.

// A test that cannot go on panics; clippy exempts only the test functions themselves.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

mod architecture;
mod cluster;
mod dependencies;
mod features;
mod guarantees;
mod kafka_cluster;
mod kafka_consumer;
mod kafka_faults;
mod kafka_log;
mod kafka_membership;
mod kafka_outcomes;
mod kafka_reading;
mod log_process;
mod operations;
mod zombie;
