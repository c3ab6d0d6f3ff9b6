//! What every process of a deployment does alike: how it begins and ends, how it is stopped, what it says and logs, and
//! the small files by which others find it.

pub mod arguments;
pub mod exit;
pub mod file;
pub mod metrics;
pub mod say;
pub mod stop;
pub mod tool;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{panic, thread};

use self::exit::{Exit, report};
use annals_engine::sink::{ProcessKind, ProcessReport};
use annals_model::time::Timestamp;
use tracing_subscriber::EnvFilter;

pub use crate::say;

/// What the libraries have to say goes to stderr: warnings and errors, or what `ANNALS_LOG` asks for (`info`, `debug`).
/// So does what a panic says. None of it can fail, or wait for whoever reads it.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("ANNALS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| say::Stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .log_internal_errors(false)
        .init();
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        say!("thread '{}' {panic}", thread.name().unwrap_or("<unnamed>"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            say!("{backtrace}");
        }
    }));
}

/// All of `main` behind the command line: logs to stderr, runs to the end, says why it failed, and gives its exit code.
pub fn run(whole: impl Future<Output = anyhow::Result<Exit>>) -> ExitCode {
    log_to_stderr();
    end(match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(whole).unwrap_or_else(|error| report(&error)),
        Err(error) => report(&error.into()),
    })
}

/// The end of `main`: what was said is written, as far as somebody reads it.
pub fn end(exit: impl Into<ExitCode>) -> ExitCode {
    say::flush();
    exit.into()
}

/// What this process tells of itself: started now, owning nothing yet.
pub fn of_this_process(kind: ProcessKind, id: String, address: Option<String>, runs: Vec<String>) -> ProcessReport {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Linux; elsewhere the machine goes without a name.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    ProcessReport {
        id,
        kind,
        address,
        host: host.trim().to_owned(),
        pid: std::process::id(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        runs,
        owns: Vec::new(),
        troubles: Vec::new(),
    }
}
