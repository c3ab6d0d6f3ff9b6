//! From released `.avsc` files to Rust: for the build script of any application's schemas, and for its tests.
//!
//! `<context>/<aggregate>/<event>.v<major>.avsc` holds an event's payload, `<event>.v<major>.<revision>.avsc` a compatible
//! change of it. [`generate`] makes of them a module per context and aggregate with the newest version of each event and
//! the enum `Event` of all of them, older versions in `v1`, `v2`, …, and the catalogue of all released schemas. Nobody
//! writes a field twice. The build script is one line,
//!
//! ```no_run
//! # use std::process::ExitCode;
//! fn main() -> ExitCode {
//!     annals_codegen::generate("schemas", &[("shop", 1)])
//! }
//! ```
//!
//! the module that holds the events another: `annals_model::events!();`. Behind the feature `testing` is what the
//! application's tests ask: that a released file never changes, and that every file keeps the rules.
#![warn(missing_docs)]

mod code;
mod discover;
mod enums;
mod payload;
mod schema;
#[cfg(feature = "testing")]
pub mod testing;
mod version;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes the code of all `.avsc` files below `folder` of the package whose build script this is.
///
/// `contexts` gives each context (a folder) its number, which is part of every event id: from the context's first event
/// on it never changes and is never another's.
#[allow(clippy::print_stderr, clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
pub fn generate(folder: &str, contexts: &[(&str, u8)]) -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    for (context, _) in contexts {
        println!("cargo::rerun-if-changed={}", Path::new(folder).join(context).display());
    }
    match write(folder, contexts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &str, contexts: &[(&str, u8)]) -> Result<(), String> {
    let root = variable("CARGO_MANIFEST_DIR")?.join(folder);
    let out = variable("OUT_DIR")?.join("events.rs");
    let code = code::generate(&discover::discover(&root)?, contexts)?;
    std::fs::write(&out, code).map_err(|error| format!("{}: {error}", out.display()))
}

fn variable(name: &str) -> Result<PathBuf, String> {
    std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set; run cargo"))
}

#[cfg(test)]
mod tests;
