//! What every process of a deployment does alike: how it ends, how it is stopped, what it logs, and the small files by
//! which others find it.

pub mod exit;
pub mod file;
pub mod metrics;
pub mod stop;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What the libraries have to say goes to stderr: warnings and errors, or what `ANNALS_LOG` asks for (`info`, `debug`).
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("ANNALS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
