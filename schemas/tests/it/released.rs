//! A released file never changes, and what it once wrote reads the same for ever.
//!
//! To release new files: `RELEASE_SCHEMAS=1 cargo test -p annals-schemas --test it released`. It adds a line to
//! `released.lock` and a golden file for each file that has none, and never changes one that is there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use annals_schemas::CATALOGUE;

use crate::files::{self, File, hex_sha256, package};
use crate::values::{golden_value, our_bytes, their_bytes, their_value, writer_schema};

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

/// The lock, after new files were released if that was asked for: no test may see it half done.
fn lock() -> &'static [Line] {
    static LINES: LazyLock<Vec<Line>> = LazyLock::new(|| {
        if std::env::var_os("RELEASE_SCHEMAS").is_some() {
            release();
        }
        read_lock()
    });
    &LINES
}

fn read_lock() -> Vec<Line> {
    let text = std::fs::read_to_string(package().join(LOCK)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let [path, sha256, golden, golden_sha256] = words.try_into().expect("a line of the lock has four words");
        Line { path, sha256, golden, golden_sha256 }
    };
    lines.map(line).collect()
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
        complaints.push(format!(
            "{path} is not released; run: RELEASE_SCHEMAS=1 cargo test -p annals-schemas --test it released"
        ));
    }
    complaints
}

fn read_golden(path: &str) -> Option<Vec<u8>> {
    std::fs::read(package().join(path)).ok()
}

/// Adds lines and golden files for the files that have none.
fn release() {
    let locked = read_lock();
    let mut text = std::fs::read_to_string(package().join(LOCK)).unwrap_or_else(|_| HEADER.to_owned());
    for file in files::all().iter().filter(|file| !locked.iter().any(|line| line.path == file.path)) {
        let (mut golden, mut golden_sha256) = (NONE.to_owned(), NONE.to_owned());
        if let Some(released) = CATALOGUE.get(file.id()) {
            let schema = writer_schema(released);
            let theirs = their_bytes(released, &schema, &golden_value(released, &schema));
            let ours = our_bytes(&theirs).expect("a golden value is a valid record");
            golden = format!("golden/{}", file.path.replace(".avsc", ".bin"));
            golden_sha256 = hex_sha256(&ours);
            let path = package().join(&golden);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, ours).unwrap();
        }
        writeln!(text, "{} {} {golden} {golden_sha256}", file.path, hex_sha256(&file.bytes)).unwrap();
    }
    std::fs::write(package().join(LOCK), text).unwrap();
}

#[test]
fn released_files_and_golden_records_are_unchanged_and_complete() {
    assert_eq!(complaints(lock(), &files::all(), read_golden), [""; 0]);
}

#[test]
fn golden_records_read_as_they_were_written() {
    let files = files::all();
    assert!(!lock().is_empty());
    for line in lock().iter().filter(|line| line.golden != NONE) {
        let file = files.iter().find(|file| file.path == line.path).expect("the file was released");
        let released = CATALOGUE.get(file.id()).expect("every released file is in the catalogue");
        let schema = writer_schema(released);
        let bytes = read_golden(&line.golden).expect("the golden file was released");
        assert_eq!(their_value(&schema, &bytes), golden_value(released, &schema), "{}", line.golden);
        assert_eq!(our_bytes(&bytes).as_ref(), Ok(&bytes), "{}", line.golden);
    }
}

#[test]
fn an_edited_a_lost_and_an_unreleased_file_are_noticed() {
    let (lock, mut files) = (lock(), files::all());
    files.retain(|file| lock.iter().any(|line| line.path == file.path));
    let mut edited = files.clone();
    edited[0].bytes.push(b' ');
    let found = complaints(lock, &edited, read_golden);
    assert_eq!(found, [format!("{} was released and then edited; restore it and add a revision", files[0].path)]);

    let found = complaints(lock, &files[1..], read_golden);
    assert_eq!(found, [format!("{} was released and is gone", files[0].path)]);

    let found = complaints(&lock[1..], &files, read_golden);
    assert!(found.len() == 1 && found[0].starts_with(&format!("{} is not released", lock[0].path)), "{found:?}");

    let golden = lock.iter().filter(|line| line.golden != NONE).count();
    assert_eq!(complaints(lock, &files, |_| None).len(), golden);
    let flipped = |path: &str| {
        let mut bytes = read_golden(path)?;
        bytes[9] ^= 1;
        Some(bytes)
    };
    assert_eq!(complaints(lock, &files, flipped).len(), golden);
}
