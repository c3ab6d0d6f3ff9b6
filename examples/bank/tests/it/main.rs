//! The bank's tests: rules, tables, schemas, and the whole of it as a process.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, also in what tests share")]

mod account;
mod schemas;
mod tutorial;
mod whole;
