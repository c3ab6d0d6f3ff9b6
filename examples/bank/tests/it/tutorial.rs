//! The tutorial shows the example, all of it, as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
const LINES_MAX: usize = 250;

/// What people wrote: tests and what commands record are not of it.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "golden"].contains(&name) {
            sources(&path, found);
        } else if path.is_file() && name != "released.lock" {
            found.push(path);
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// The lines of each file that the tutorial shows: in blocks below a line that is nothing but the file's name in bold.
fn shown(tutorial: &str) -> BTreeMap<String, Vec<String>> {
    let (mut shown, mut file, mut inside) = (BTreeMap::<String, Vec<String>>::new(), None, false);
    for line in tutorial.lines() {
        if line.starts_with("```") {
            inside = !inside;
            file = if inside { file } else { None };
        } else if inside {
            let block = file.as_ref().map(|file: &String| shown.entry(file.clone()).or_default());
            block.into_iter().for_each(|block| block.extend(lines(line)));
        } else if !line.trim().is_empty() {
            file = line.strip_prefix("**`").and_then(|line| line.strip_suffix("`**")).map(str::to_owned);
        }
    }
    shown
}

/// Equal, or the first line that is not.
#[track_caller]
fn check(name: &str, shown: &[String], written: &[String]) {
    let line = (0..shown.len().max(written.len())).find(|line| shown.get(*line) != written.get(*line));
    if let Some(line) = line {
        panic!("{name}: docs/tutorial.md has {:?} where the file has {:?}", shown.get(line), written.get(line));
    }
}

#[test]
fn the_tutorial_shows_every_line_of_the_example_in_its_order_and_no_other() {
    let tutorial = std::fs::read_to_string(Path::new(PACKAGE).join("../../docs/tutorial.md")).unwrap();
    let mut files = Vec::new();
    sources(Path::new(PACKAGE), &mut files);
    let mut shown = shown(&tutorial);
    for file in files {
        let name = file.strip_prefix(PACKAGE).unwrap().to_str().unwrap();
        let written = lines(&std::fs::read_to_string(&file).unwrap());
        check(name, &shown.remove(name).unwrap_or_default(), &written);
    }
    // Of the tests it may show some, and those whole.
    for (name, lines_shown) in shown {
        let written = std::fs::read_to_string(Path::new(PACKAGE).join(&name)).unwrap_or_default();
        check(&name, &lines_shown, &lines(&written));
    }
}

#[test]
fn a_line_that_only_one_of_the_two_has_is_noticed() {
    let tutorial = "Text.\n\n**`a.rs`**\n\n```rust\nfn a() {}\n\nfn b() {}\n```\n\n**`b.rs`**\n\nMore.\n\n```sh\nls\n```\n\n**`a.rs`**\n```rust\nfn c() {}\n```\n";
    let expected = [("a.rs".to_owned(), ["fn a() {}", "fn b() {}", "fn c() {}"].map(str::to_owned).into())];
    assert_eq!(shown(tutorial), expected.into(), "a block that no file's name stands above is nobody's");
}

/// A domain of one's own is an afternoon's work, and no more: blank lines and what its tests need are not counted.
#[test]
fn the_whole_example_is_at_most_250_lines() {
    let mut files = Vec::new();
    sources(Path::new(PACKAGE), &mut files);
    let count = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        lines(text.split("[dev-dependencies]").next().unwrap()).len()
    };
    let total: usize = files.iter().map(count).sum();
    assert!(total > 100 && total <= LINES_MAX, "{total} lines");
}
