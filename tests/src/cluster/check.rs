//! Did the cluster keep its promises? Pure code over what clients were told and what the log holds afterwards.

mod answers;
mod order;
mod records;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use annals_model::envelope::Fingerprint;
use annals_model::ids::{EventId, OperationId};

use super::history::{AggregateName, History};
use super::recorded::LogContent;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// What was acknowledged is in the log.
    AcknowledgedIsInTheLog,
    /// With the ids, the places and the version that the answer named.
    AnswersAreWhatTheLogHolds,
    /// A request is accepted once.
    AcceptedOnce,
    /// All answers to one request are equal, and only one body is accepted under its id.
    AnswersAreEqual,
    /// What was refused, or said not to be written, is not in the log.
    RefusedIsNotInTheLog,
    /// Nothing is in the log that nobody asked for.
    OnlyWhatWasAsked,
    /// Ordinals are 1, 2, 3, … in every partition.
    OrdinalsAreContiguous,
    /// Sequences are 1, 2, 3, … in every aggregate.
    SequencesAreContiguous,
    /// Commands are there with all their records.
    CommandsAreWhole,
    /// No record is there of an owner that a newer claim had fenced.
    NoZombieWrites,
    /// What was accepted later lies behind what was acknowledged before.
    RealTimeOrder,
    /// An owner shows no version older than what was acknowledged, or shown, before it was asked.
    ReadsAreNotOlder,
    /// Nobody shows a version that the log does not hold, or that nobody had asked for yet.
    ReadsAreInTheLog,
    /// Whoever sends the token of a write is shown the write.
    TokensAreHonoured,
    /// Every request is answered once the faults are over.
    EveryoneIsAnswered,
    /// Nobody is answered with a server's mistake, or with what cannot be understood.
    AnswersAreExpected,
    /// `annals log verify` finds nothing.
    LogIsSound,
    /// Every read model's rows are the fold of the log at their checkpoint.
    RowsAreTheFold,
    /// Every read model comes to the log's end once the faults are over.
    ReadModelsCatchUp,
    /// No more sessions of the database are open than the processes' pools allow.
    SessionsAreFew,
    /// No session of the database goes on for a client that has gone.
    NoSessionIsLeftBehind,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// A command as the log has it.
#[derive(Clone, Debug)]
struct Commit {
    request: Arc<str>,
    body: Fingerprint,
    operation: OperationId,
    aggregate: AggregateName,
    context: u8,
    partition: u16,
    version: u64,
    /// Domain events only.
    events: Vec<(EventId, u16, u64)>,
    end: u64,
}

/// The log, by what is looked up in it. Records that no reader shows are not in it.
#[derive(Debug, Default)]
struct Index {
    commits: BTreeMap<Arc<str>, Vec<Commit>>,
    /// Which request made which version.
    versions: HashMap<AggregateName, BTreeMap<u64, Arc<str>>>,
}

/// Everything that is wrong; nothing, if every promise was kept.
pub fn check(history: &History, log: &LogContent) -> Vec<Violation> {
    let mut found = Vec::new();
    let index = records::check(log, &mut found);
    answers::check(history, &index, &mut found);
    order::check(history, &index, &mut found);
    found
}

fn broken(found: &mut Vec<Violation>, rule: Rule, what: String) {
    found.push(Violation { rule, what });
}

#[cfg(test)]
mod tests;
