//! What was measured, as a table and as JSON, and whether it is what was meant to be.

use serde::Serialize;

use crate::limits;
use crate::rounds::{Latencies, Turn, Turns, latencies, median};

/// What a row is held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// At least so many times the floor.
    Ratio(f64),
    /// At least so many per second.
    Rate(f64),
    /// Half of all within so many milliseconds.
    P50Ms(f64),
    /// All but one of a hundred within so many milliseconds.
    P99Ms(f64),
}

/// Whether a goal is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Met,
    /// It is not.
    Missed,
    /// Another load was there: nobody knows.
    Disturbed,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Quantiles {
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
}

impl Quantiles {
    fn of(all: &Latencies) -> Self {
        Self { p50_ms: all.quantile_ms(0.5), p90_ms: all.quantile_ms(0.9), p99_ms: all.quantile_ms(0.99) }
    }
}

/// One thing that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    name: String,
    /// What is counted.
    unit: &'static str,
    /// What the floor is; empty where there is none.
    floor_is: &'static str,
    /// Medians of the turns, per second.
    ours: f64,
    floor: Option<f64>,
    ratio: Option<f64>,
    latency: Option<Quantiles>,
    floor_latency: Option<Quantiles>,
    ours_turns: Vec<f64>,
    floor_turns: Vec<f64>,
    /// The largest share of the machine that others took in a turn.
    others_share: f64,
    /// Shares of the machine that the client took in the middle turn, ours and the floor's.
    client_share: Option<(f64, f64)>,
    /// Processor time of one of what is counted, without the client's, microseconds: ours and the floor's.
    processor_us: Option<(f64, f64)>,
    goals: Vec<Goal>,
    notes: Vec<String>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, floor_is: &'static str, turns: &Turns) -> Self {
        let rates = |turns: &[Turn]| turns.iter().map(|turn| turn.rate).collect::<Vec<_>>();
        let (ours_turns, floor_turns) = (rates(&turns.ours), rates(&turns.floor));
        let ours = median(ours_turns.iter().copied()).unwrap_or_default();
        let floor = median(floor_turns.iter().copied());
        let processor_us = |turns: &[Turn]| median(turns.iter().filter_map(|turn| turn.processor_us));
        let client = |turns: &[Turn]| median(turns.iter().map(|turn| turn.client_share));
        Self {
            name: name.into(),
            unit,
            floor_is,
            ours,
            floor,
            ratio: floor.map(|floor| ours / floor),
            latency: latencies(&turns.ours).as_ref().map(Quantiles::of),
            floor_latency: latencies(&turns.floor).as_ref().map(Quantiles::of),
            ours_turns,
            floor_turns,
            others_share: turns.others,
            client_share: client(&turns.ours).zip(client(&turns.floor)).filter(|(ours, _)| *ours > 0.0),
            processor_us: processor_us(&turns.ours).zip(processor_us(&turns.floor)),
            goals: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn is_met(&self, goal: Goal) -> bool {
        match goal {
            Goal::Ratio(least) => self.ratio.is_some_and(|ratio| ratio >= least),
            Goal::Rate(least) => self.ours >= least,
            Goal::P50Ms(most) => self.latency.is_some_and(|latency| latency.p50_ms <= most),
            Goal::P99Ms(most) => self.latency.is_some_and(|latency| latency.p99_ms <= most),
        }
    }

    fn verdict(&self, goal: Goal, anyway: bool) -> Verdict {
        match self.is_met(goal) {
            _ if self.others_share > limits::OTHERS_SHARE_MAX && !anyway => Verdict::Disturbed,
            true => Verdict::Met,
            false => Verdict::Missed,
        }
    }
}

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    processors: usize,
    /// Disturbed rows are judged as well.
    anyway: bool,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(seed: u64, anyway: bool) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { seed, processors, anyway, rows: Vec::new() }
    }

    /// Shown at once: the rest takes minutes.
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("{}: {}", row.name, rate(row.ours));
        self.rows.push(row);
    }

    /// The worst of all.
    pub(crate) fn verdict(&self) -> Verdict {
        let all = self.rows.iter().flat_map(|row| row.goals.iter().map(|goal| row.verdict(*goal, self.anyway)));
        all.max().unwrap_or(Verdict::Met)
    }

    pub(crate) fn to_json(&self) -> anyhow::Result<String> {
        let mut json = serde_json::to_value(self)?;
        json["verdict"] = serde_json::to_value(self.verdict())?;
        Ok(serde_json::to_string_pretty(&json)? + "\n")
    }

    pub(crate) fn print(&self) {
        let head = ["", "ours", "floor", "ratio", "p50 / p90 / p99 ms", "the floor's", "goal"].map(str::to_owned);
        let mut lines = vec![head];
        for row in &self.rows {
            let goals = row.goals.iter().map(|goal| self.goal(row, *goal)).collect::<Vec<_>>().join(", ");
            lines.push([
                row.name.clone(),
                format!("{} {}", rate(row.ours), row.unit),
                row.floor.map(rate).unwrap_or_default(),
                row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                row.latency.map(milliseconds).unwrap_or_default(),
                row.floor_latency.map(milliseconds).unwrap_or_default(),
                goals,
            ]);
        }
        let widths: [usize; 7] =
            std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0));
        for line in &lines {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        println!();
        self.rows.iter().for_each(print_notes);
        println!("{} processors, seed {}", self.processors, self.seed);
    }

    fn goal(&self, row: &Row, goal: Goal) -> String {
        let text = match goal {
            Goal::Ratio(least) => format!("≥ {least}×"),
            Goal::Rate(least) => format!("≥ {}", rate(least)),
            Goal::P50Ms(most) => format!("p50 ≤ {most} ms"),
            Goal::P99Ms(most) => format!("p99 ≤ {most} ms"),
        };
        let verdict = match row.verdict(goal, self.anyway) {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Disturbed => "not judged",
        };
        format!("{text} {verdict}")
    }
}

fn print_notes(row: &Row) {
    let mut notes = row.notes.clone();
    if !row.floor_is.is_empty() {
        notes.insert(0, format!("floor: {}", row.floor_is));
    }
    if let Some((ours, floor)) = row.client_share {
        let (ours, floor) = (ours * 100.0, floor * 100.0);
        notes.push(format!("the client took {ours:.0} % of the processors, beside the floor {floor:.0} %"));
    }
    if let Some((ours, floor)) = row.processor_us {
        notes.push(format!("processor time of one without the client's {ours:.0} µs, the floor's {floor:.0} µs"));
    }
    if row.others_share > limits::OTHERS_SHARE_MAX {
        notes.push(format!("disturbed: others took {:.0} % of the processors", row.others_share * 100.0));
    }
    if !notes.is_empty() {
        println!("{}: {}", row.name, notes.join("; "));
    }
}

fn milliseconds(of: Quantiles) -> String {
    format!("{:.2} / {:.2} / {:.2}", of.p50_ms, of.p90_ms, of.p99_ms)
}

/// With separators, three digits that mean something.
fn rate(per_second: f64) -> String {
    if per_second >= 1e6 {
        return format!("{:.2} M/s", per_second / 1e6);
    }
    let whole = per_second.round() as u64;
    match (whole / 1_000, whole % 1_000) {
        (0, rest) => format!("{rest}/s"),
        (thousands, rest) => format!("{thousands},{rest:03}/s"),
    }
}

#[cfg(test)]
mod tests;
