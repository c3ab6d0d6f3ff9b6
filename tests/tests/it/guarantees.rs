//! docs/guarantees.md names a test for each promise, and each test that it names is there.

use std::collections::BTreeSet;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const DOCUMENT: &str = "docs/guarantees.md";
/// Of the design; a new one is added here and to the document.
const INVARIANTS: u32 = 10;

/// The code spans of the form `path/to/file.rs::function_name`.
fn references(text: &str) -> impl Iterator<Item = (&str, &str)> {
    // Between backticks is every second piece.
    text.split('`').skip(1).step_by(2).filter_map(|span| {
        let (file, function) = span.split_once(".rs::")?;
        Some((&span[..file.len() + ".rs".len()], function))
    })
}

/// True if the source has a function of exactly this name.
fn has_function(source: &str, name: &str) -> bool {
    let is_named = |rest: &str| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(['(', '<']));
    !name.is_empty() && source.split("fn ").skip(1).any(is_named)
}

/// References that lead nowhere, and why.
fn lost(document: &str) -> Vec<String> {
    references(document)
        .filter_map(|(file, function)| match std::fs::read_to_string(Path::new(ROOT).join(file)) {
            Err(_) => Some(format!("{file}: no such file")),
            Ok(source) if !has_function(&source, function) => Some(format!("{file}: no fn {function}")),
            Ok(_) => None,
        })
        .collect()
}

/// The rows of the first table below a heading, cell by cell; without the table's own head.
fn table<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let lines = document.lines().skip_while(|line| *line != heading).skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Rows of both tables that name no test, and invariants that have no row, or two.
fn unguarded(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut numbers = BTreeSet::new();
    for row in table(document, "## Invariants") {
        let Ok(number) = row[0].parse::<u32>() else {
            found.push(format!("{:?} is no number of an invariant", row[0]));
            continue;
        };
        if !numbers.insert(number) {
            found.push(format!("invariant {number} is there twice"));
        }
        if row.last().is_none_or(|tests| references(tests).next().is_none()) {
            found.push(format!("invariant {number} names no test"));
        }
    }
    found.extend(
        (1..=INVARIANTS).filter(|number| !numbers.contains(number)).map(|n| format!("invariant {n} is missing")),
    );
    let checkers = table(document, "## Checkers, and the bugs they were shown to catch");
    let shown = |row: &Vec<&str>| row.last().is_some_and(|tests| references(tests).next().is_some());
    found.extend(checkers.iter().filter(|row| !shown(row)).map(|row| format!("the checker {row:?} names no test")));
    if checkers.is_empty() {
        found.push("there are no checkers".to_owned());
    }
    found
}

fn document() -> String {
    std::fs::read_to_string(Path::new(ROOT).join(DOCUMENT)).unwrap()
}

#[test]
fn every_reference_in_the_guarantees_is_there() {
    let document = document();
    assert!(references(&document).count() > 50, "the form of references has changed");
    assert_eq!(lost(&document), Vec::<String>::new());
}

#[test]
fn every_invariant_and_every_checker_names_a_test() {
    assert_eq!(unguarded(&document()), Vec::<String>::new());
}

#[test]
fn a_reference_that_leads_nowhere_is_caught() {
    let here = "tests/tests/it/guarantees.rs";
    let text = format!(
        "`{here}::lost` `{here}::los` `{here}::losts` `{here}::` `tests/nowhere.rs::lost` {here}::los `cargo test` \
         `{here}::a_reference_that_leads_nowhere_is_caught`"
    );
    let expected = [
        format!("{here}: no fn los"),
        format!("{here}: no fn losts"),
        format!("{here}: no fn "),
        "tests/nowhere.rs: no such file".to_owned(),
    ];
    assert_eq!(lost(&text), expected);
    let document = document().replace("::the_contract_finds_two_builders`", "::the_contract_finds_three_builders`");
    let file = "core/engine/src/sink/contract/tests.rs";
    assert_eq!(lost(&document), [format!("{file}: no fn the_contract_finds_three_builders")]);
}

#[test]
fn an_invariant_or_a_checker_without_a_test_is_caught() {
    let document = document();
    let without = |start: &str, replaced: &str| {
        let lines = document.lines().map(|line| if line.starts_with(start) { replaced } else { line });
        unguarded(&lines.collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(without("| 7 |", "| 7 | promised | by `nobody` |"), ["invariant 7 names no test"]);
    assert_eq!(
        without("| 7 |", "| 6 | promised | `a.rs::b` |"),
        ["invariant 6 is there twice", "invariant 7 is missing"]
    );
    assert_eq!(
        without("| golden rows |", "| golden rows | a bug | |"),
        ["the checker [\"golden rows\", \"a bug\", \"\"] names no test"]
    );
}
