use serde_json::json;

use super::*;

#[test]
fn numbers_are_right_aligned_and_their_thousands_apart() {
    let records = [json!({"name": "serde", "releases": 1}), json!({"name": "tokio", "releases": 12345})];
    let text = render(&records, &columns(&[("name", "/name"), ("releases", "/releases")]));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].trim_start().starts_with("NAME"), "{text}");
    assert!(lines[1].ends_with("     1"), "{text}");
    assert!(lines[2].ends_with("12,345"), "{text}");
    assert_eq!(lines[1].chars().count(), lines[2].chars().count());
}

#[test]
fn cells_are_for_people() {
    let human = |value| cell::human(&value);
    assert_eq!(human(json!(null)), "–");
    assert_eq!(human(json!(true)), "yes");
    assert_eq!(human(json!(-1234567)), "-1,234,567");
    assert_eq!(human(json!("3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7")), "3f2b8c1e…");
    assert_eq!(human(json!("2026-07-01T12:00:03.123456Z")), "2026-07-01 12:00:03Z");
    assert_eq!(human(json!("a\u{1b}[2Jb")), "a [2Jb");
    assert_eq!(human(json!(["a", 1])), "a, 1");
    assert_eq!(human(json!({"name": "serde", "project_id": null, "rank": 2})), "name serde, rank 2");
    assert_eq!(human(json!("user:3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7")), "user:3f2b8c1e…");
}

#[test]
fn a_column_that_no_record_has_is_left_out() {
    let shown = columns(&[("name", "/name"), ("why", "/why")]);
    assert!(!render(&[json!({"name": "serde", "why": null})], &shown).contains("WHY"));
    assert!(render(&[], &shown).contains("WHY"));
}

#[test]
fn bytes_take_the_largest_fitting_unit() {
    assert_eq!(cell::bytes(1023), "1023 B");
    assert_eq!(cell::bytes(1536), "1.5 KiB");
    assert_eq!(cell::bytes(5 << 20), "5.0 MiB");
}

/// The widest line, characters.
fn width(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or_default()
}

#[test]
fn a_narrow_terminal_breaks_lines_between_words_only() {
    let records = [json!({"name": "serde_json_canonicalizer", "why": "rebuilt by hand: version 2 is live already"})];
    let text = layout::table(&records, &columns(&[("name", "/name"), ("why", "/why")]), Some(40));
    assert!(width(&text) <= 40, "{text}");
    for word in ["serde_json_canonicalizer", "rebuilt", "version", "already"] {
        assert!(text.contains(word), "{text}");
    }
    assert!(text.lines().count() > 2, "{text}");
}

#[test]
fn optional_columns_are_left_out_and_named_where_the_terminal_is_too_narrow() {
    let records = [json!({"name": "serde", "version": 12345678, "id": "abcdefghijkl"})];
    let shown = [
        Column::new("name", "/name"),
        Column::new("version", "/version").optional(),
        Column::new("id", "/id").optional(),
    ];
    assert!(layout::table(&records, &shown, Some(40)).contains("abcdefghijkl"));
    let text = layout::table(&records, &shown, Some(20));
    assert!(text.contains("12,345,678") && !text.contains("abcdefghijkl"), "{text}");
    assert!(text.ends_with("(too narrow for ID; -o json has all)"), "{text}");
}

#[test]
fn records_that_fit_no_line_are_shown_as_blocks() {
    let records =
        [json!({"name": "serde", "digest": "d".repeat(24)}), json!({"name": "tokio", "digest": "e".repeat(24)})];
    let text = layout::table(&records, &columns(&[("name", "/name"), ("digest", "/digest")]), Some(20));
    let wanted = format!("NAME    serde\nDIGEST  {}\n\nNAME    tokio\nDIGEST  {}", "d".repeat(24), "e".repeat(24));
    assert_eq!(text, wanted);
}
