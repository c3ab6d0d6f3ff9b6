//! How a command ends: the exit codes, and the error that carries one.

use std::process::ExitCode;

use crate::say;

/// What the process tells its caller. The numbers are part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed, or was refused.
    Failed = 1,
    /// The command line, the input file or the environment is wrong; nothing was done.
    Usage = 2,
    /// Something does not hold: a damaged log, rows that are not the fold of the log.
    Mismatch = 3,
    /// A version conflict, or the same thing is running already.
    Conflict = 4,
    /// Done in part: some lines were refused.
    Partial = 5,
    /// No answer in time.
    Timeout = 6,
    /// Interrupted by the user; what was printed says how to resume.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure with its exit code and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What happened.
    pub message: String,
    /// What to do about it; empty where the message says all.
    pub remedy: String,
}

impl Failure {
    /// A failure without a remedy of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), remedy: String::new() }
    }
    /// The same with a remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
    /// The user's input is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

/// Says on stderr why the process failed, and gives its exit code.
pub fn report(error: &anyhow::Error) -> Exit {
    say!("error: {error:#}");
    match error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
        Some(failure) => {
            if !failure.remedy.is_empty() {
                say!("  → {}", failure.remedy);
            }
            failure.exit
        }
        None => Exit::Failed,
    }
}
