//! What the demo says while it works, on stderr, and what it has proved, kept for the end.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use annals_projectors::process::say;
use serde_json::{Value, json};

use annals_cli::output::fold::{Edges, fold};
use annals_cli::output::{Column, columns, render_within};

/// The terminal that nobody has to widen.
const WIDTH_COLUMNS: u16 = 80;

/// The demo's voice and its ledger of proofs.
#[derive(Debug)]
pub(crate) struct Stage {
    started: Instant,
    styled: bool,
    heading: u32,
    proofs: Vec<Value>,
}

/// Something that the demo set out to show does not hold.
#[derive(Debug, thiserror::Error)]
#[error("this does not hold: {claim}: {found}")]
pub(crate) struct Disproved {
    /// What should hold.
    claim: String,
    /// What was found instead.
    found: String,
}

impl Stage {
    /// Begins.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), styled: stderr().is_terminal(), heading: 0, proofs: Vec::new() }
    }

    /// Begins a step.
    pub(crate) fn heading(&mut self, text: &str) {
        self.heading += 1;
        let number = self.heading;
        say!();
        if self.styled { say!("\u{1b}[1;36m{number}. {text}\u{1b}[0m") } else { say!("{number}. {text}") }
    }

    /// Says something.
    pub(crate) fn say(&self, text: &str) {
        for line in text.lines() {
            say!("{}", folded(line, ""));
        }
    }

    /// Shows a command line as the user would type it.
    pub(crate) fn command(&self, line: &str) {
        let line = folded(&format!("$ {line}"), " \\");
        if self.styled { say!("\u{1b}[2m{line}\u{1b}[0m") } else { say!("{line}") }
    }

    /// Shows records as a table.
    pub(crate) fn table(&self, records: &[Value], pairs: &[(&str, &str)]) {
        self.columns(records, &columns(pairs));
    }

    /// The same with columns of another command.
    pub(crate) fn columns(&self, records: &[Value], columns: &[Column]) {
        for line in render_within(records, columns, WIDTH_COLUMNS - 3).lines() {
            say!("   {line}");
        }
    }

    /// Holds a claim against what was found, says so, and keeps it for the end; the first that does not hold ends the
    /// demo.
    pub(crate) fn prove(&mut self, claim: &str, holds: bool, found: impl Into<String>) -> Result<(), Disproved> {
        let found = found.into();
        if !holds {
            return Err(Disproved { claim: claim.to_owned(), found });
        }
        let line = folded(&format!("✓ {claim}: {found}"), "");
        if self.styled {
            say!("{}", line.replacen('✓', "\u{1b}[32m✓\u{1b}[0m", 1))
        } else {
            say!("{line}")
        }
        self.proofs.push(json!({"claim": claim, "found": found}));
        Ok(())
    }

    /// What was proved, in order.
    pub(crate) fn proofs(&self) -> &[Value] {
        &self.proofs
    }

    /// Seconds since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

/// A line behind the demo's indent, in lines that fit; `unfinished` ends each that goes on.
fn folded(line: &str, unfinished: &str) -> String {
    fold(line, WIDTH_COLUMNS.into(), &Edges { first: "   ", rest: "     ", unfinished })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_does_not_hold_says_what_was_found_and_is_no_proof() {
        let mut stage = Stage::new();
        stage.prove("one is one", true, "1").unwrap();
        let error = stage.prove("one is two", false, "1").unwrap_err();
        assert_eq!(error.to_string(), "this does not hold: one is two: 1");
        assert_eq!(stage.proofs().len(), 1);
    }
}
