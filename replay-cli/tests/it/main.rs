//! The command line as its users meet it: real processes, real files, exit codes.
#![expect(clippy::unwrap_used, reason = "what fails in a test's own tools fails the test")]

mod distributed;
mod full_disk;
mod health;
mod https;
mod importing;
mod kill;
mod operating;
mod recorded;
mod server;
mod size;
mod talking;
mod unheard;
mod usage;
