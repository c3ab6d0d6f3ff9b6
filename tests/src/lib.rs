//! What crosses crates: several processes, kill -9, model checks.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for the people who start it by hand")]

pub mod cluster;
pub mod limits;

use annals_model::ids::{ContextId, Partition};
use annals_model::position::ContextPartition;

/// The context of the logs that `log_writer` writes.
pub const LOG_CONTEXT: ContextId = ContextId { number: 211, name: "processes" };

/// The partition that `log_writer` owns.
pub const LOG_PARTITION: ContextPartition = ContextPartition { context: LOG_CONTEXT, partition: Partition(1) };
