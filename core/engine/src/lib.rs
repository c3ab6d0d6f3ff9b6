//! What runs the model: the event log, the partition owners, the runner, generations, rebuild and verify.
//! It knows no HTTP and no domain word.

#![warn(missing_docs)]

pub mod command;
pub mod generations;
pub mod lag;
pub mod limits;
#[cfg(test)]
#[path = "../tests/it/lines.rs"]
mod lines;
pub mod log;
pub mod outage;
pub mod owners;
mod panics;
pub mod presence;
pub mod published;
pub mod rebuild;
pub mod runner;
#[cfg(feature = "seeded-bugs")]
pub mod seeded;
pub mod sink;
pub mod telemetry;
pub mod verify;
