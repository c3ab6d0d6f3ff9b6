//! The processes that keep read models current, and what every process of a deployment has in common: its configuration,
//! its signals, its metrics, what it says.

pub mod deployment;
pub mod limits;
pub mod process;
pub mod projector;
