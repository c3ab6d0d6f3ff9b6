use std::time::Duration;

use super::*;
use crate::rounds::Turn;

fn turns(ours: &[u64], floor: &[u64], others: f64) -> Turns {
    let of = |rates: &[u64]| rates.iter().map(|rate| Turn::of(*rate, Duration::from_secs(1))).collect();
    Turns { ours: of(ours), floor: of(floor), others }
}

fn row(ours: &[u64], floor: &[u64], others: f64) -> Row {
    Row::new("row", "commands", "a floor", &turns(ours, floor, others))
}

fn verdict(row: Row, anyway: bool) -> Verdict {
    let mut report = Report::new(1, anyway);
    report.add(row);
    report.verdict()
}

#[test]
fn a_ratio_is_one_of_medians() {
    let row = row(&[50, 1, 60], &[100, 1000, 90], 0.0);
    assert_eq!(row.ratio, Some(0.5));
    assert_eq!(verdict(row.clone().goal(Goal::Ratio(0.5)), false), Verdict::Met);
    assert_eq!(verdict(row.goal(Goal::Ratio(0.51)), false), Verdict::Missed);
}

#[test]
fn a_goal_of_a_ratio_is_not_met_without_a_floor() {
    assert_eq!(verdict(row(&[1], &[], 0.0).goal(Goal::Ratio(0.5)), false), Verdict::Missed);
}

#[test]
fn what_another_load_disturbed_is_not_judged_unless_asked_for() {
    let disturbed = row(&[50], &[100], limits::OTHERS_SHARE_MAX * 1.01).goal(Goal::Ratio(0.5));
    assert_eq!(verdict(disturbed.clone(), false), Verdict::Disturbed);
    assert_eq!(verdict(disturbed, true), Verdict::Met);
}

#[test]
fn the_tail_of_all_turns_counts_together() {
    let mut turns = turns(&[1, 1], &[], 0.0);
    for (turn, slow_ms) in turns.ours.iter_mut().zip([1, 50]) {
        let mut latencies = Latencies::new();
        (0..90).for_each(|_| latencies.record(Duration::from_millis(1)));
        (0..10).for_each(|_| latencies.record(Duration::from_millis(slow_ms)));
        turn.latencies = Some(latencies);
    }
    let row = Row::new("row", "commands", "", &turns);
    assert!(!row.is_met(Goal::P99Ms(12.0)));
    assert!(row.is_met(Goal::P50Ms(1.5)));
}

#[test]
fn rates_are_readable() {
    assert_eq!(["7/s", "1,024/s", "2.50 M/s"].map(str::to_owned), [7.2, 1024.0, 2.5e6].map(rate));
}

#[test]
fn the_json_has_every_turn_and_the_verdict() {
    let mut report = Report::new(7, false);
    report.add(row(&[50, 51], &[100, 101], 0.0).goal(Goal::Ratio(0.9)));
    let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(json["verdict"], "missed");
    assert_eq!(json["rows"][0]["ours_turns"], serde_json::json!([50.0, 51.0]));
    assert_eq!(json["rows"][0]["goals"], serde_json::json!([{ "ratio": 0.9 }]));
}
