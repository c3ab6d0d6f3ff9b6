//! `annals-projector` as its operators meet it: real processes, killed, paused and asked; and what they deploy it with.

// A test that cannot go on panics; clippy exempts only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod deploy;
mod processes;
mod world;
