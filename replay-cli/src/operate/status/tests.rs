use serde_json::json;

use super::advice::remedy;
use super::*;

fn live(more: Value) -> Value {
    let mut line = json!({"read_model": "portfolio", "generation": 3, "state": "live", "trouble": "it is broken"});
    more.as_object().unwrap().iter().for_each(|(name, value)| line[name] = value.clone());
    line
}

#[test]
fn nobody_is_told_to_rebuild_what_is_tried_again_or_what_nobody_runs() {
    assert!(remedy("portfolio", &live(json!({"tried_again": true}))).starts_with("see to the cause"));
    assert!(remedy("portfolio", &live(json!({"nobody": true}))).starts_with("start "));
    for line in [live(json!({"tried_again": false})), live(json!({}))] {
        assert_eq!(remedy("portfolio", &line), "annals rebuild portfolio, then annals promote portfolio");
    }
}

#[test]
fn a_failed_build_is_shown_until_another_one_succeeds() {
    let of = |id: u32, state: &str| json!({"read_model": "portfolio", "generation": id, "state": state});
    let lines = [of(1, "live"), of(2, "failed"), of(3, "ready"), of(4, "failed")];
    let shown: Vec<_> = lines.iter().filter(|line| !is_history(line, &lines)).map(|line| &line["generation"]).collect();
    assert_eq!(shown, [&json!(1), &json!(3), &json!(4)]);
}

#[test]
fn what_the_next_promotion_drops_is_told_in_one_line() {
    let of = |id: u32, old: bool| json!({"read_model": "portfolio", "generation": id, "dropped_by_a_promotion": old});
    assert_eq!(going(&[of(1, false), of(2, false)]), None);
    let told = going(&[of(1, true), of(2, true), of(3, false)]).unwrap();
    assert_eq!(told, "the next promotion drops what is old: portfolio generation 1, portfolio generation 2");
}

#[test]
fn long_texts_are_cut_in_the_table() {
    let long = "x".repeat(500);
    let short = in_short(&json!({"reason": long, "trouble": null, "failure": long}));
    assert_eq!(short["reason"].as_str().unwrap().chars().count(), limits::STATUS_TEXT_CHARS_MAX + 1);
    assert!(short["trouble"].is_null());
    assert_eq!(short["failure"], json!(long));
}

#[test]
fn status_fits_80_columns_whatever_is_to_be_told() {
    let cause = "portfolio v2 generation 12: its file is missing; rebuild the read model ".repeat(4);
    let generation = |id: u32, state: &str, more: Value| {
        let mut line = json!({
            "read_model": "portfolio", "version": 2, "generation": id, "state": state, "runner": "projector 6b0f5c0e",
            "lag_events": 18_446_744_073_709_551_615_u64, "lag_seconds": 31_536_000, "verified": "0123456789ab…",
            "started_at": "2026-11-27T18:30:53.123456Z", "reason": "an operator said so, at some length ".repeat(3),
            "trouble": null,
        });
        more.as_object().unwrap().iter().for_each(|(name, value)| line[name] = value.clone());
        line
    };
    let lines = [
        generation(1, "failed", json!({"trouble": cause})),
        generation(12, "live", json!({"trouble": cause, "verified": "FAILED"})),
        generation(13, "building", json!({"read_model": "access"})),
    ];
    let process = |kind: &str, owns: &[&str]| {
        json!({
            "kind": kind, "id": "6b0f5c0e-9c43-4a5e-a1d0-5d0f0c7b9a11", "address": "[2001:db8:85a3::8a2e:370:7334]:8080",
            "host": "node-1.eu-central-1.compute.example.org", "pid": 4_194_304, "seen_seconds_ago": 86_400,
            "started_at": "2026-11-27T18:30:53.123456Z", "alive": false, "runs": ["access", "portfolio"], "owns": owns,
        })
    };
    let processes = [process("node", &["access/0-3", "portfolio/0-127"]), process("projector", &[])];
    let advice = [json!({"read_model": "portfolio", "why": cause, "remedy": remedy("portfolio", &lines[1])})];
    let shown = human(&lines, &processes, &advice, Some(80));
    let width = |line: &str| line.chars().filter(|letter| !letter.is_control()).count();
    assert!(plain(&shown).lines().all(|line| width(line) <= 80), "{shown}");
    // Nothing of what is to be done is lost by that, and nothing is broken where nobody reads along.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&shown).contains(&words(&format!("portfolio: {cause}"))), "{shown}");
    assert!(words(&shown).contains("→ annals rebuild portfolio, then annals promote portfolio"), "{shown}");
    assert!(human(&lines, &processes, &advice, None).contains(cause.trim_end()));
}

/// Without what makes letters bold.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}
