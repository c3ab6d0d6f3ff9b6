//! The engine against the test log and its faults.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod admission;
mod badges;
mod buggy_log;
mod clients;
mod clocks;
mod ends;
mod engine;
mod faults;
mod full_disk;
mod histories;
mod lines;
mod ownership;
mod seeded_bugs;
mod store_contract;
mod stores;
