//! Rules that hold in time: one owner's answers, in one order.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Index, Rule, Violation, broken};
use crate::cluster::history::{AggregateName, History, Moment, Outcome, Shown, Sight, Span};

pub(super) fn check(history: &History, index: &Index, found: &mut Vec<Violation>) {
    check_acceptances(history, found);
    let sights = sights(history);
    check_lower(history, &sights, found);
    check_upper(history, index, &sights, found);
}

/// Reads, and versions that refusals named.
fn sights(history: &History) -> Vec<Sight> {
    let named = history.attempts.iter().filter_map(|attempt| match &attempt.outcome {
        Outcome::Refused { seen: Some(version), .. } => Some(Sight {
            aggregate: attempt.aggregate.clone(),
            span: attempt.span,
            version: *version,
            by: Shown::Owner,
        }),
        Outcome::Refused { seen: None, .. } | Outcome::Acknowledged(_) | Outcome::NotWritten { .. } | Outcome::Open => {
            None
        }
    });
    history.sights.iter().cloned().chain(named).collect()
}

/// Highest value of those that were told before a moment.
#[derive(Debug, Default)]
struct Told {
    /// By time; values never fall.
    steps: Vec<(Moment, u64)>,
}

impl Told {
    fn of(mut told: Vec<(Moment, u64)>) -> Self {
        told.sort_unstable();
        let mut highest = 0;
        for (_, value) in &mut told {
            highest = highest.max(*value);
            *value = highest;
        }
        Self { steps: told }
    }

    fn before(&self, moment: Moment) -> u64 {
        let later = self.steps.partition_point(|(at, _)| *at < moment);
        later.checked_sub(1).map_or(0, |last| self.steps[last].1)
    }
}

/// What is accepted lies behind all that was acknowledged in its partition before it was sent.
fn check_acceptances(history: &History, found: &mut Vec<Violation>) {
    let mut told: HashMap<(u8, u16), Vec<(Moment, u64)>> = HashMap::new();
    for attempt in &history.attempts {
        let Outcome::Acknowledged(answer) = &attempt.outcome else { continue };
        if let Some((context, partition, end)) = answer.end() {
            told.entry((context, partition)).or_default().push((attempt.span.ended, end));
        }
    }
    let told: HashMap<_, _> = told.into_iter().map(|(at, steps)| (at, Told::of(steps))).collect();
    for attempt in &history.attempts {
        let Outcome::Acknowledged(answer) = &attempt.outcome else { continue };
        let (false, Some((context, partition, end))) = (answer.replayed, answer.end()) else { continue };
        let before = told[&(context, partition)].before(attempt.span.began);
        if end <= before {
            let what = format!(
                "{} was sent when {context}/{partition} was acknowledged up to {before}, and lies before {end}",
                attempt.request
            );
            broken(found, Rule::RealTimeOrder, what);
        }
    }
}

fn check_lower(history: &History, sights: &[Sight], found: &mut Vec<Violation>) {
    let mut told: HashMap<&AggregateName, Vec<(Moment, u64)>> = HashMap::new();
    for attempt in &history.attempts {
        if let Outcome::Acknowledged(answer) = &attempt.outcome {
            told.entry(&attempt.aggregate).or_default().push((attempt.span.ended, answer.version));
        }
    }
    for sight in sights.iter().filter(|sight| sight.by == Shown::Owner) {
        told.entry(&sight.aggregate).or_default().push((sight.span.ended, sight.version));
    }
    let told: HashMap<_, _> = told.into_iter().map(|(aggregate, steps)| (aggregate, Told::of(steps))).collect();
    for Sight { aggregate, span, version, by } in sights {
        match by {
            Shown::Owner => {
                let before = told.get(aggregate).map_or(0, |told| told.before(span.began));
                if *version < before {
                    let what = format!("{aggregate} was shown at {version} after {before} was known");
                    broken(found, Rule::ReadsAreNotOlder, what);
                }
            }
            Shown::ReadModel { covers } => {
                if version < covers {
                    let what = format!("{aggregate} was shown at {version} for a token of {covers}");
                    broken(found, Rule::TokensAreHonoured, what);
                }
            }
        }
    }
}

fn check_upper(history: &History, index: &Index, sights: &[Sight], found: &mut Vec<Violation>) {
    let mut first_sent: HashMap<&Arc<str>, Moment> = HashMap::new();
    for attempt in &history.attempts {
        let sent = first_sent.entry(&attempt.request).or_insert(attempt.span.began);
        *sent = (*sent).min(attempt.span.began);
    }
    let known = |request: &Arc<str>| first_sent.get(request).copied().unwrap_or_default();
    for Sight { aggregate, span: Span { ended, .. }, version, .. } in sights.iter().filter(|sight| sight.version > 0) {
        let request = index.versions.get(aggregate).and_then(|versions| versions.get(version));
        let what = match request {
            None => format!("{aggregate} was shown at {version}, which the log does not have"),
            Some(request) if known(request) > *ended => {
                format!("{aggregate} was shown at {version} before {request}, which made it, was sent")
            }
            Some(_) => continue,
        };
        broken(found, Rule::ReadsAreInTheLog, what);
    }
}
