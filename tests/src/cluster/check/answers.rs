//! Rules that hold between what clients were told and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals_model::envelope::Fingerprint;

use super::{Commit, Index, Rule, Violation, broken};
use crate::cluster::history::{Acknowledged, Attempt, History, Moment, Outcome};

pub(super) fn check(history: &History, index: &Index, found: &mut Vec<Violation>) {
    for attempt in &history.attempts {
        if let Outcome::Acknowledged(answer) = &attempt.outcome {
            check_answer(attempt, answer, index, found);
        }
    }
    check_equal(history, found);
    check_not_taken_back(history, found);
    check_refusals(history, index, found);
    let asked: BTreeSet<_> = history.attempts.iter().map(|attempt| &attempt.request).collect();
    for request in index.commits.keys().filter(|request| !asked.contains(request)) {
        broken(found, Rule::OnlyWhatWasAsked, format!("{request} is in the log and nobody sent it"));
    }
    for what in &history.odd {
        broken(found, Rule::AnswersAreExpected, what.clone());
    }
    for request in &history.unanswered {
        broken(found, Rule::EveryoneIsAnswered, format!("{request} was never answered"));
    }
}

fn check_answer(attempt: &Attempt, answer: &Acknowledged, index: &Index, found: &mut Vec<Violation>) {
    let request = &attempt.request;
    let Some(commits) = index.commits.get(request) else {
        let what = format!("{request} was acknowledged as version {} and is not there", answer.version);
        return broken(found, Rule::AcknowledgedIsInTheLog, what);
    };
    if !commits.iter().any(|commit| is_of(commit, attempt, answer)) {
        let what = format!("{request} was answered {answer:?}, the log has {commits:?}");
        broken(found, Rule::AnswersAreWhatTheLogHolds, what);
    }
}

fn is_of(commit: &Commit, attempt: &Attempt, answer: &Acknowledged) -> bool {
    commit.body == attempt.body
        && commit.operation == answer.operation
        && commit.aggregate == attempt.aggregate
        && commit.aggregate.id == answer.aggregate
        && commit.version == answer.version
        && commit.events == answer.events
        && answer.end() == Some((commit.context, commit.partition, commit.end))
}

fn check_equal(history: &History, found: &mut Vec<Violation>) {
    let mut first: BTreeMap<&Arc<str>, (&Attempt, Acknowledged)> = BTreeMap::new();
    for attempt in &history.attempts {
        let Outcome::Acknowledged(answer) = &attempt.outcome else { continue };
        // That it is a repetition is the one thing that may differ.
        let answer = Acknowledged { replayed: true, ..answer.clone() };
        let (earlier, before) = first.entry(&attempt.request).or_insert_with(|| (attempt, answer.clone()));
        if *before != answer {
            let what = format!("{} was answered {before:?} and {answer:?}", attempt.request);
            broken(found, Rule::AnswersAreEqual, what);
        }
        if earlier.body != attempt.body {
            broken(found, Rule::AnswersAreEqual, format!("{} was accepted for two commands", attempt.request));
        }
    }
}

/// What was acknowledged is never refused afterwards.
fn check_not_taken_back(history: &History, found: &mut Vec<Violation>) {
    let mut told: BTreeMap<(&Arc<str>, [u8; 16]), Moment> = BTreeMap::new();
    for attempt in &history.attempts {
        if matches!(attempt.outcome, Outcome::Acknowledged(_)) {
            let first = told.entry((&attempt.request, attempt.body.0)).or_insert(attempt.span.ended);
            *first = (*first).min(attempt.span.ended);
        }
    }
    for attempt in &history.attempts {
        let Outcome::Refused { code, .. } = &attempt.outcome else { continue };
        if told.get(&(&attempt.request, attempt.body.0)).is_some_and(|told| *told < attempt.span.began) {
            broken(found, Rule::AnswersAreEqual, format!("{} was acknowledged, then refused: {code}", attempt.request));
        }
    }
}

/// Whoever was told at every try that nothing was written finds nothing written. After a try with an open outcome a
/// refusal tells nothing: the earlier try may come through later.
fn check_refusals(history: &History, index: &Index, found: &mut Vec<Violation>) {
    let mut asked: BTreeMap<(&Arc<str>, [u8; 16]), Vec<&Outcome>> = BTreeMap::new();
    for Attempt { request, body: Fingerprint(body), outcome, .. } in &history.attempts {
        asked.entry((request, *body)).or_default().push(outcome);
    }
    for ((request, body), outcomes) in asked {
        let told = |outcome: &&Outcome| match outcome {
            Outcome::Refused { code, .. } | Outcome::NotWritten { code } => Some(code.clone()),
            Outcome::Acknowledged(_) | Outcome::Open => None,
        };
        let Some(codes) = outcomes.iter().map(told).collect::<Option<Vec<_>>>() else { continue };
        let written = index.commits.get(request).is_some_and(|all| all.iter().any(|commit| commit.body.0 == body));
        if written {
            broken(found, Rule::RefusedIsNotInTheLog, format!("{request} was refused as {codes:?} and is in the log"));
        }
    }
}
