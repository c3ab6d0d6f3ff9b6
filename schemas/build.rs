//! Generates the events' Rust types and codec from the released `.avsc` files.

use std::process::ExitCode;

/// The bounded contexts and their frozen numbers: a number is part of every event id, so it is never used again.
///
/// Reserved, built or not: identity 1, access 2, policy 3, control 4, portfolio 5, knowledge 6, conversation 7,
/// agents 8, workflow 9, tools 10, approvals 11, artifacts 12, integrations 13, mcp 14, remediation 15, audit 16.
const CONTEXTS: &[(&str, u8)] = &[("access", 2), ("portfolio", 5)];

fn main() -> ExitCode {
    annals_codegen::generate(".", CONTEXTS)
}
