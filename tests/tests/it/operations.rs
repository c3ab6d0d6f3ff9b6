//! docs/operations.md tells what to do about every problem and every exit code.

use std::collections::BTreeSet;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{path}")).unwrap()
}

/// What stands in the first cells of the table below a heading.
fn explained(document: &str, heading: &str) -> BTreeSet<String> {
    let rows = document.lines().skip_while(|line| *line != heading).skip_while(|line| !line.starts_with("|--"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

/// Statuses with their slugs, as the document writes them, from lines like `Name = 404 "slug" "Title",`.
fn problems(source: &str) -> BTreeSet<String> {
    let codes = source.lines().filter_map(|line| {
        let (status, rest) = line.split_once(" = ")?.1.split_once(" \"")?;
        let (slug, _) = rest.split_once("\" \"")?;
        Some(format!("{} {slug}", status.parse::<u16>().ok()?))
    });
    codes.collect()
}

/// The numbers behind the variants of `Exit`.
fn exit_codes(source: &str) -> BTreeSet<String> {
    let values = source.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "));
    values.map(|(_, number)| number.to_owned()).filter(|number| number.parse::<u8>().is_ok()).collect()
}

#[test]
fn every_problem_and_every_exit_code_is_explained() {
    let document = read("docs/operations.md");
    let problems = problems(&read("api/src/problem.rs"));
    assert!(problems.contains("404 not-found") && problems.contains("503 not-owner"), "{problems:?}");
    assert_eq!(explained(&document, "## Problems"), problems);
    let codes = exit_codes(&read("projectors/src/process/exit.rs"));
    assert!(codes.contains("0") && codes.contains("130"), "{codes:?}");
    assert_eq!(explained(&document, "## Exit codes"), codes);
}

#[test]
fn a_code_that_is_not_explained_is_seen() {
    let document = "## Problems\n\n| p | m |\n|---|---|\n| `404 gone` | it is |\n| no code | |\n\n| `500 other` | |";
    assert_eq!(explained(document, "## Problems"), BTreeSet::from(["404 gone".to_owned()]));
    assert_eq!(
        problems("/// x\n    Gone = 410 \"gone\" \"It is gone\",\n    Other = \"x\" \"y\","),
        BTreeSet::from(["410 gone".to_owned()])
    );
    assert_eq!(
        exit_codes("/// x\n    Ok = 0,\n    Late = 6,\n    Name = \"a\",\n"),
        BTreeSet::from(["0", "6"].map(str::to_owned))
    );
}
