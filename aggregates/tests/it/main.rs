//! What holds for every aggregate: folds are total, decisions deterministic, and a history replays to the same state.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, also in what tests share")]

mod golden;
mod payloads;
mod properties;
