//! Is the checker worth anything? Every rule finds a history that breaks it, and none complains of a sound one.

use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, ContextId, Partition, Scope, TenantId, WorkspaceId,
};
use annals_model::position::{ContextPartition, Offset, PositionVector};
use uuid::Uuid;

use super::*;
use crate::cluster::history::{Acknowledged, Attempt, Moment, Outcome, Shown, Sight, Span};
use crate::cluster::recorded::{LogPartition, LogRecord};

const CONTEXT: ContextId = ContextId { number: 7, name: "fabricated" };
const BODY: Fingerprint = Fingerprint([1; 16]);
const OTHER_BODY: Fingerprint = Fingerprint([2; 16]);

const SCOPE: Scope = Scope { tenant: TenantId(Uuid::from_u128(1)), workspace: WorkspaceId(Uuid::from_u128(2)) };

fn aggregate(number: u128) -> AggregateName {
    AggregateName { about: SCOPE, of: "fabricated.thing".into(), id: AggregateId(Uuid::from_u128(number)) }
}

fn operation(request: &str) -> OperationId {
    let scope = SCOPE;
    OperationId::derive(CONTEXT, scope, &ClientRequestId::new(request).unwrap())
}

fn span(began: u64, ended: u64) -> Span {
    Span { began: Moment(began), ended: Moment(ended) }
}

/// `events` of one command, the first at `offset`, behind version `before` of an aggregate.
fn records(request: &str, of: u128, before: u64, offset: u64, ordinal: u64, events: u16) -> Vec<LogRecord> {
    let record = |index: u16| LogRecord {
        offset: offset + u64::from(index),
        ordinal: ordinal + u64::from(index),
        claim_epoch: 1,
        newest_claim: 1,
        event_id: operation(request).event(CommitIndex(index)),
        request: (index == 0).then(|| (Arc::from(request), BODY)),
        aggregate: aggregate(of),
        sequence: before + 1 + u64::from(index),
        is_engine_record: false,
        commit_index: index,
        commit_size: events,
    };
    (0..events).map(record).collect()
}

fn answer(request: &str, of: u128, version: u64, offset: u64, events: u16) -> Acknowledged {
    let at = ContextPartition { context: CONTEXT, partition: Partition(0) };
    let event = |index: u16| (operation(request).event(CommitIndex(index)), 0, offset + u64::from(index));
    Acknowledged {
        replayed: false,
        operation: operation(request),
        aggregate: aggregate(of).id,
        version,
        events: (0..events).map(event).collect(),
        position: PositionVector::of(at, Offset(offset + u64::from(events))),
    }
}

fn attempt(request: &str, of: u128, span: Span, outcome: Outcome) -> Attempt {
    Attempt { request: request.into(), body: BODY, aggregate: aggregate(of), span, outcome }
}

fn refused(seen: Option<u64>) -> Outcome {
    Outcome::Refused { code: "version-conflict".into(), seen }
}

/// Two aggregates, three commands, one of them answered twice; reads; a refusal; a request with a lost answer.
fn sound() -> (History, LogContent) {
    let log = [
        records("a", 1, 0, 1, 1, 1),
        records("b", 2, 0, 3, 2, 2),
        records("c", 1, 1, 6, 4, 1),
        records("lost", 2, 2, 8, 5, 1),
    ];
    let again = Acknowledged { replayed: true, ..answer("b", 2, 2, 3, 2) };
    let history = History {
        attempts: vec![
            attempt("a", 1, span(0, 10), Outcome::Acknowledged(answer("a", 1, 1, 1, 1))),
            attempt("b", 2, span(5, 20), Outcome::Acknowledged(answer("b", 2, 2, 3, 2))),
            attempt("c", 1, span(30, 40), Outcome::Acknowledged(answer("c", 1, 2, 6, 1))),
            attempt("b", 2, span(50, 60), Outcome::Acknowledged(again)),
            attempt("d", 1, span(70, 80), refused(Some(2))),
            attempt("e", 1, span(70, 80), Outcome::NotWritten { code: "not-owner".into() }),
            attempt("lost", 2, span(70, 90), Outcome::Open),
            attempt("lost", 2, span(95, 99), refused(None)),
        ],
        sights: vec![
            Sight { aggregate: aggregate(1), span: span(41, 45), version: 2, by: Shown::Owner },
            Sight { aggregate: aggregate(1), span: span(41, 46), version: 1, by: Shown::ReadModel { covers: 1 } },
            Sight { aggregate: aggregate(9), span: span(41, 46), version: 0, by: Shown::Owner },
        ],
        unanswered: vec![],
        odd: vec![],
    };
    let records = log.concat();
    (
        history,
        LogContent {
            partitions: vec![LogPartition {
                context: 7,
                partition: 0,
                ordinal_before: 0,
                records,
                claims: 1,
                owner: String::new(),
            }],
        },
    )
}

/// What is found once a sound history was changed.
fn found(change: impl FnOnce(&mut History, &mut Vec<LogRecord>)) -> Vec<Rule> {
    let (mut history, mut log) = sound();
    change(&mut history, &mut log.partitions[0].records);
    check(&history, &log).into_iter().map(|violation| violation.rule).collect()
}

#[track_caller]
fn breaks(rule: Rule, change: impl FnOnce(&mut History, &mut Vec<LogRecord>)) {
    let found = found(change);
    assert!(found.contains(&rule), "{rule:?} is not among {found:?}");
}

fn acknowledged(history: &mut History, index: usize) -> &mut Acknowledged {
    match &mut history.attempts[index].outcome {
        Outcome::Acknowledged(answer) => answer,
        other => panic!("attempt {index} ended as {other:?}"),
    }
}

#[test]
fn a_sound_history_has_no_violations() {
    assert_eq!(found(|_, _| {}), vec![]);
}

#[test]
fn an_acknowledged_command_that_the_log_does_not_have_is_found() {
    // The last one, so that nothing else is wrong with the log.
    let found = found(|history, log| {
        log.truncate(4);
        history.attempts.push(attempt("lost", 2, span(100, 110), Outcome::Acknowledged(answer("lost", 2, 3, 8, 1))));
    });
    assert_eq!(found, vec![Rule::AcknowledgedIsInTheLog]);
}

#[test]
fn answers_that_name_other_ids_places_or_versions_than_the_log_are_found() {
    breaks(Rule::AnswersAreWhatTheLogHolds, |history, _| acknowledged(history, 0).version = 2);
    breaks(Rule::AnswersAreWhatTheLogHolds, |history, _| acknowledged(history, 0).events[0].2 = 2);
    breaks(Rule::AnswersAreWhatTheLogHolds, |history, _| acknowledged(history, 0).events.clear());
    breaks(Rule::AnswersAreWhatTheLogHolds, |history, _| {
        acknowledged(history, 0).events[0].0 = operation("c").event(CommitIndex(0));
    });
    breaks(Rule::AnswersAreWhatTheLogHolds, |history, _| {
        acknowledged(history, 0).position = answer("a", 1, 1, 2, 1).position;
    });
    breaks(Rule::AnswersAreWhatTheLogHolds, |history, _| history.attempts[0].body = OTHER_BODY);
}

#[test]
fn a_request_that_was_accepted_twice_is_found() {
    let found = found(|_, log| log.extend(records("c", 1, 2, 10, 6, 1)));
    assert_eq!(found, vec![Rule::AcceptedOnce]);
}

#[test]
fn a_repetition_that_was_answered_otherwise_is_found() {
    breaks(Rule::AnswersAreEqual, |history, _| acknowledged(history, 3).version = 1);
    breaks(Rule::AnswersAreEqual, |history, _| history.attempts[3].body = OTHER_BODY);
}

#[test]
fn an_acknowledgement_that_is_taken_back_is_found() {
    let taken_back = |began| found(|history, _| history.attempts.push(attempt("a", 1, span(began, 99), refused(None))));
    assert_eq!(taken_back(90), vec![Rule::AnswersAreEqual]);
    // Two tries at a time: the refused one was decided first.
    assert_eq!(taken_back(5), vec![]);
}

#[test]
fn a_refused_command_that_was_written_is_found() {
    for outcome in [refused(None), Outcome::NotWritten { code: "aborted".into() }] {
        let found = found(|history, log| {
            log.extend(records("d", 1, 2, 10, 6, 1));
            history.attempts[4].outcome = outcome;
        });
        assert_eq!(found, vec![Rule::RefusedIsNotInTheLog]);
    }
}

#[test]
fn a_refusal_behind_a_try_that_was_left_open_says_nothing() {
    let (history, log) = sound();
    assert!(history.attempts.iter().any(|attempt| &*attempt.request == "lost"));
    assert_eq!(check(&history, &log), vec![]);
}

#[test]
fn a_command_that_nobody_sent_is_found() {
    assert_eq!(found(|_, log| log.extend(records("ghost", 1, 2, 10, 6, 1))), vec![Rule::OnlyWhatWasAsked]);
}

#[test]
fn ordinals_with_a_hole_or_a_repetition_are_found() {
    breaks(Rule::OrdinalsAreContiguous, |_, log| log[4].ordinal = 6);
    breaks(Rule::OrdinalsAreContiguous, |_, log| log[4].ordinal = 4);
}

#[test]
fn sequences_with_a_hole_or_a_repetition_are_found() {
    breaks(Rule::SequencesAreContiguous, |_, log| log[3].sequence = 3);
    breaks(Rule::SequencesAreContiguous, |_, log| log[3].sequence = 1);
}

#[test]
fn one_id_in_several_workspaces_and_types_is_several_aggregates() {
    let elsewhere = [
        AggregateName { about: Scope { workspace: WorkspaceId(Uuid::from_u128(3)), ..SCOPE }, ..aggregate(1) },
        AggregateName { about: Scope { tenant: TenantId(Uuid::from_u128(3)), ..SCOPE }, ..aggregate(1) },
        AggregateName { of: "fabricated.other".into(), ..aggregate(1) },
    ];
    for name in elsewhere {
        let found = found(|history, log| {
            let mut first = records("first", 1, 0, 10, 6, 1);
            first[0].aggregate = name.clone();
            log.extend(first);
            let told = Outcome::Acknowledged(answer("first", 1, 1, 10, 1));
            let asked = attempt("first", 1, span(100, 110), told);
            history.attempts.push(Attempt { aggregate: name.clone(), ..asked });
            let by = Shown::Owner;
            history.sights.push(Sight { aggregate: name.clone(), span: span(111, 112), version: 1, by });
        });
        assert_eq!(found, vec![], "{name}");
    }
}

#[test]
fn half_a_command_is_found() {
    breaks(Rule::CommandsAreWhole, |_, log| drop(log.remove(2)));
    breaks(Rule::CommandsAreWhole, |_, log| drop(log.remove(1)));
    breaks(Rule::CommandsAreWhole, |_, log| {
        let mut half = records("half", 1, 2, 10, 6, 2);
        half.truncate(1);
        log.extend(half);
    });
}

#[test]
fn a_record_of_a_fenced_owner_is_found_and_counts_as_nothing_else() {
    let found = found(|_, log| {
        let mut zombie = records("zombie", 1, 2, 10, 6, 1);
        zombie[0].newest_claim = 10;
        log.extend(zombie);
    });
    assert_eq!(found, vec![Rule::NoZombieWrites]);
}

#[test]
fn an_acknowledged_write_of_a_zombie_counts_as_lost() {
    breaks(Rule::AcknowledgedIsInTheLog, |_, log| log[3].newest_claim = 5);
}

#[test]
fn a_command_that_was_accepted_before_what_was_acknowledged_earlier_is_found() {
    // `c` lies behind `b`, and `b` was sent when `c` was acknowledged.
    breaks(Rule::RealTimeOrder, |history, _| history.attempts[1].span = span(41, 45));
    // A repetition may be answered at any time.
    let found = found(|history, _| history.attempts[3].span = span(500, 600));
    assert_eq!(found, vec![]);
}

#[test]
fn a_read_older_than_what_was_known_is_found() {
    breaks(Rule::ReadsAreNotOlder, |history, _| history.sights[0].version = 1);
    // Than what another read had shown.
    breaks(Rule::ReadsAreNotOlder, |history, _| {
        let by = Shown::Owner;
        history.sights.push(Sight { aggregate: aggregate(2), span: span(92, 93), version: 3, by });
        history.sights.push(Sight { aggregate: aggregate(2), span: span(94, 96), version: 2, by });
    });
    // A refusal that names a version shows it.
    breaks(Rule::ReadsAreNotOlder, |history, _| history.attempts[4].outcome = refused(Some(1)));
}

#[test]
fn a_version_that_the_log_does_not_have_or_nobody_asked_for_yet_is_found() {
    breaks(Rule::ReadsAreInTheLog, |history, _| history.sights[0].version = 3);
    breaks(Rule::ReadsAreInTheLog, |history, _| history.sights[1].version = 3);
    breaks(Rule::ReadsAreInTheLog, |history, _| history.sights[0].span = span(25, 29));
}

#[test]
fn a_token_that_is_not_honoured_is_found() {
    breaks(Rule::TokensAreHonoured, |history, _| history.sights[1].by = Shown::ReadModel { covers: 2 });
}

#[test]
fn a_request_that_nobody_ever_answered_is_found() {
    assert_eq!(found(|history, _| history.unanswered.push("lost".into())), vec![Rule::EveryoneIsAnswered]);
}

#[test]
fn an_answer_that_no_client_should_get_is_found() {
    assert_eq!(found(|history, _| history.odd.push("500".into())), vec![Rule::AnswersAreExpected]);
}
