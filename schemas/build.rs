//! Generates the events' Rust types and codec from the released `.avsc` files; see `build/`.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

#[path = "build/code.rs"]
mod code;
#[path = "build/discover.rs"]
mod discover;
#[path = "build/enums.rs"]
mod enums;
#[path = "build/payload.rs"]
mod payload;
#[path = "build/schema.rs"]
mod schema;
#[path = "build/version.rs"]
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), String> {
    let root = variable("CARGO_MANIFEST_DIR")?;
    let out = variable("OUT_DIR")?.join("events.rs");
    let set = discover::discover(&root)?;
    // A folder that is new is seen because its context's number is new, too: in `src/contexts.rs`.
    for watched in ["build.rs", "build", "envelope.avsc", "engine", "src/contexts.rs"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    for context in set.contexts() {
        println!("cargo::rerun-if-changed={context}");
    }
    std::fs::write(&out, code::generate(&set)?).map_err(|error| format!("{}: {error}", out.display()))
}

fn variable(name: &str) -> Result<PathBuf, String> {
    std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set; run cargo"))
}
