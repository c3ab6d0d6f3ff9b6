//! A released file never changes, and what it once wrote reads the same for ever.

use std::collections::BTreeMap;
use std::path::Path;

use annals_model::event::SchemaCatalogue;

use super::files::{File, hex_sha256};
use super::values::{golden_value, our_bytes, their_bytes, their_value, writer_schema};

const LOCK: &str = "released.lock";
const HEADER: &str =
    "# file, its SHA-256, golden record written by it, SHA-256 of that. Lines are added, never changed.\n";
/// In place of a golden file: the envelope is in every other one.
const NONE: &str = "-";

/// One line of the lock.
#[derive(Clone)]
struct Line {
    path: String,
    sha256: String,
    golden: String,
    golden_sha256: String,
}

fn read_lock(folder: &Path) -> Result<Vec<Line>, String> {
    let text = std::fs::read_to_string(folder.join(LOCK)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let [path, sha256, golden, golden_sha256] =
            words.try_into().map_err(|_| format!("{LOCK}: a line has four words, and not this one: {line}"))?;
        Ok(Line { path, sha256, golden, golden_sha256 })
    };
    lines.map(line).collect()
}

/// Adds lines and golden files for the files that have none.
pub(super) fn release(folder: &Path, files: &[File], catalogue: &SchemaCatalogue) -> Result<(), String> {
    let locked = read_lock(folder)?;
    let mut text = std::fs::read_to_string(folder.join(LOCK)).unwrap_or_else(|_| HEADER.to_owned());
    for file in files.iter().filter(|file| !locked.iter().any(|line| line.path == file.path)) {
        let (mut golden, mut golden_sha256) = (NONE.to_owned(), NONE.to_owned());
        if let Some(released) = catalogue.get(file.id()) {
            let schema = writer_schema(released);
            let theirs = their_bytes(released, &schema, &golden_value(released, &schema));
            let ours = our_bytes(catalogue, &theirs).map_err(|error| format!("{}: {error}", file.path))?;
            golden = format!("golden/{}", file.path.replace(".avsc", ".bin"));
            golden_sha256 = hex_sha256(&ours);
            write(&folder.join(&golden), &ours)?;
        }
        text += &format!("{} {} {golden} {golden_sha256}\n", file.path, hex_sha256(&file.bytes));
    }
    write(&folder.join(LOCK), text.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder.and_then(|()| std::fs::write(path, bytes)).map_err(|error| format!("{}: {error}", path.display()))
}

/// What is wrong between lock, files and golden records.
pub(super) fn faults(folder: &Path, files: &[File], catalogue: &SchemaCatalogue) -> Result<Vec<String>, String> {
    let (lock, golden) = (read_lock(folder)?, |path: &str| std::fs::read(folder.join(path)).ok());
    let mut faults = complaints(&lock, files, golden);
    if faults.is_empty() {
        faults.extend(files.iter().filter_map(|file| {
            let line = lock.iter().find(|line| line.path == file.path)?;
            reads(file, &golden(&line.golden)?, catalogue).err()
        }));
    }
    Ok(faults)
}

/// Whether the golden record of a file says what it was written to say, and is written so again.
fn reads(file: &File, golden: &[u8], catalogue: &SchemaCatalogue) -> Result<(), String> {
    let path = &file.path;
    let released = catalogue.get(file.id()).ok_or_else(|| format!("{path} is not in the catalogue"))?;
    let schema = writer_schema(released);
    if their_value(&schema, golden)? != golden_value(released, &schema) {
        return Err(format!("the golden record of {path} reads otherwise than it was written"));
    }
    match our_bytes(catalogue, golden) {
        Ok(bytes) if bytes == golden => Ok(()),
        other => Err(format!("the golden record of {path} is written otherwise than it was: {other:?}")),
    }
}

/// What is wrong between the lock and the files.
fn complaints(lock: &[Line], files: &[File], golden: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<String> {
    let files: BTreeMap<_, _> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut complaints = Vec::new();
    for line in lock {
        match files.get(line.path.as_str()) {
            None => complaints.push(format!("{} was released and is gone", line.path)),
            Some(file) if hex_sha256(&file.bytes) != line.sha256 => {
                complaints.push(format!("{} was released and then edited; restore it and add a revision", line.path))
            }
            Some(_) => {}
        }
        if line.golden != NONE && golden(&line.golden).is_none_or(|bytes| hex_sha256(&bytes) != line.golden_sha256) {
            complaints.push(format!("{} was released and is gone or edited", line.golden));
        }
    }
    for path in files.keys().filter(|path| !lock.iter().any(|line| line.path == **path)) {
        complaints.push(format!("{path} is not released; run this test with RELEASE_SCHEMAS=1 in the environment"));
    }
    complaints
}

#[cfg(test)]
mod tests;
