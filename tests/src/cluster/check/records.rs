//! Rules that hold for the log alone.

use std::collections::HashMap;

use super::{Commit, Index, Rule, Violation, broken};
use crate::cluster::history::AggregateName;
use crate::cluster::recorded::{LogContent, LogPartition, LogRecord};

/// Checks every partition and gives the log by what is looked up in it.
pub(super) fn check(log: &LogContent, found: &mut Vec<Violation>) -> Index {
    let mut index = Index::default();
    for partition in &log.partitions {
        check_partition(partition, &mut index, found);
    }
    for (request, commits) in index.commits.iter().filter(|(_, commits)| commits.len() > 1) {
        let places: Vec<_> = commits.iter().map(|commit| format!("before {}", commit.end)).collect();
        broken(found, Rule::AcceptedOnce, format!("{request} is in the log {} times: {places:?}", commits.len()));
    }
    index
}

fn check_partition(partition: &LogPartition, index: &mut Index, found: &mut Vec<Violation>) {
    let place = |record: &LogRecord| format!("{}/{} at {}", partition.context, partition.partition, record.offset);
    let mut ordinal = partition.ordinal_before;
    let mut sequences: HashMap<&AggregateName, u64> = HashMap::new();
    let mut open: Option<(Commit, u16, u16)> = None;
    for record in &partition.records {
        if record.claim_epoch != record.newest_claim {
            let (of, newest) = (record.claim_epoch, record.newest_claim);
            let what = format!("{} is of claim {of}, the newest before it is {newest}", place(record));
            broken(found, Rule::NoZombieWrites, what);
        }
        if record.claim_epoch < record.newest_claim {
            // No reader shows it: it continues nothing.
            continue;
        }
        if record.ordinal != ordinal + 1 {
            let what = format!("{} has ordinal {}, {} follows", place(record), record.ordinal, ordinal + 1);
            broken(found, Rule::OrdinalsAreContiguous, what);
        }
        ordinal = record.ordinal;
        let sequence = sequences.entry(&record.aggregate).or_default();
        let expected = if record.is_engine_record { *sequence } else { *sequence + 1 };
        if record.sequence != expected {
            let what = format!("{} is {} of {}, {expected} follows", place(record), record.sequence, record.aggregate);
            broken(found, Rule::SequencesAreContiguous, what);
        }
        *sequence = record.sequence;
        open = continued(partition, record, open.take(), found, &place);
        if let Some((commit, index_in_commit, size)) = open.take() {
            match index_in_commit + 1 == size {
                true => put(index, commit),
                false => open = Some((commit, index_in_commit, size)),
            }
        }
    }
    if let Some((commit, last, size)) = open {
        broken(found, Rule::CommandsAreWhole, format!("{} ends after {} of {size} records", commit.request, last + 1));
    }
}

/// The command that is open behind this record.
fn continued(
    partition: &LogPartition,
    record: &LogRecord,
    open: Option<(Commit, u16, u16)>,
    found: &mut Vec<Violation>,
    place: &dyn Fn(&LogRecord) -> String,
) -> Option<(Commit, u16, u16)> {
    let operation = record.event_id.operation();
    let event = (!record.is_engine_record).then_some((record.event_id, partition.partition, record.offset));
    if let Some((mut commit, last, size)) = open {
        let continues = (operation, record.commit_index, record.commit_size) == (commit.operation, last + 1, size);
        if continues {
            commit.events.extend(event);
            (commit.version, commit.end) = (record.sequence, record.offset + 1);
            return Some((commit, last + 1, size));
        }
        let what = format!("{} follows {} of {size} records of {}", place(record), last + 1, commit.request);
        broken(found, Rule::CommandsAreWhole, what);
    }
    let (0, Some((request, body))) = (record.commit_index, record.request.clone()) else {
        broken(found, Rule::CommandsAreWhole, format!("{} is of a command that does not begin", place(record)));
        return None;
    };
    let commit = Commit {
        request,
        body,
        operation,
        aggregate: record.aggregate.clone(),
        context: partition.context,
        partition: partition.partition,
        version: record.sequence,
        events: event.into_iter().collect(),
        end: record.offset + 1,
    };
    Some((commit, 0, record.commit_size))
}

fn put(index: &mut Index, commit: Commit) {
    let first = commit.version + 1 - (commit.events.len() as u64).min(commit.version);
    let versions = index.versions.entry(commit.aggregate.clone()).or_default();
    for version in first..=commit.version {
        versions.insert(version, commit.request.clone());
    }
    index.commits.entry(commit.request.clone()).or_default().push(commit);
}
