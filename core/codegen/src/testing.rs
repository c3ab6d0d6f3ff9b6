//! What every application's tests ask of its released schemas: they never change, and every file keeps the rules.
//!
//! ```no_run
//! # static CATALOGUE: annals_model::event::SchemaCatalogue = annals_model::event::SchemaCatalogue::new(&[]);
//! #[test]
//! fn released_schemas_are_unchanged_and_keep_the_rules() {
//!     let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
//!     assert_eq!(annals_codegen::testing::faults(folder, &CATALOGUE), [""; 0]);
//! }
//! ```
//!
//! To release new files, run that test with `RELEASE_SCHEMAS=1` in the environment: it adds a line to `released.lock` and a
//! golden record below `golden/` for each file that has none, and never changes one that is there.

mod files;
mod lint;
mod lock;
mod values;

use std::path::Path;

use annals_model::event::SchemaCatalogue;

pub use values::{golden_value, our_bytes, payload, their_bytes, their_value, writer_schema};

/// What is wrong with the files below `folder`, with `released.lock` and with the golden records there. `catalogue` is what
/// the build made of the files.
pub fn faults(folder: impl AsRef<Path>, catalogue: &SchemaCatalogue) -> Vec<String> {
    let folder = folder.as_ref();
    let checked = files::all(folder).and_then(|files| {
        let mut found = lint::faults(&files);
        // Nothing is released for ever that breaks a rule.
        if found.is_empty() && std::env::var_os("RELEASE_SCHEMAS").is_some() {
            lock::release(folder, &files, catalogue)?;
        }
        found.extend(lock::faults(folder, &files, catalogue)?);
        Ok(found)
    });
    checked.unwrap_or_else(|error| vec![error])
}

#[cfg(test)]
mod tests;
