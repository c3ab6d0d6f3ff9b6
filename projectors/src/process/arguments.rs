//! The command line, read so that help that cannot be written is an error and not a panic.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser;

use super::exit::{Exit, Failure, report};
use super::{end, say};

/// The command line as `A` describes it. An error is how the process ends: help and the version were asked for, or
/// something is wrong.
pub fn arguments<A: Parser>() -> Result<A, ExitCode> {
    arguments_of(A::command())
}

/// The same with other words of help.
pub fn arguments_of<A: Parser>(command: clap::Command) -> Result<A, ExitCode> {
    let mut described = command.clone();
    let parsed = command.try_get_matches().and_then(|mut found| A::from_arg_matches_mut(&mut found));
    parsed.map_err(|told| told.format(&mut described)).map_err(|told| {
        let styled = told.render();
        let shown = |terminal: bool| if terminal { styled.ansi().to_string() } else { styled.to_string() };
        if told.use_stderr() {
            say::text(&shown(io::stderr().is_terminal()));
            return end(Exit::Usage);
        }
        end(print(&shown(io::stdout().is_terminal())).map_or_else(|error| report(&error.into()), |()| Exit::Ok))
    })
}

/// Prints to stdout, behind all that was said before. A reader that went away (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    say::flush();
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("stdout cannot be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
