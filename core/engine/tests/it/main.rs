//! The engine against the test log and its faults.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod ends;
mod engine;
mod faults;
mod histories;
mod stores;
