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
fn long_texts_are_cut_in_the_table() {
    let long = "x".repeat(500);
    let short = in_short(&json!({"reason": long, "trouble": null, "failure": long}));
    assert_eq!(short["reason"].as_str().unwrap().chars().count(), limits::STATUS_TEXT_CHARS_MAX + 1);
    assert!(short["trouble"].is_null());
    assert_eq!(short["failure"], json!(long));
}
