//! The rules that tie one record to the one before it.

use annals_model::engine_record::Claim;
use annals_model::envelope::Record;
use annals_model::ids::OperationId;
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, Offset, Ordinal, RecordOffset};
use annals_model::time::Timestamp;

use crate::log::ReadError;
use crate::seeded::{SeededBug, is_on};

/// What a record is to its reader.
// Not boxed: nearly every step is a record, and reading allocates nothing per record.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A `$claim`: all records of older claims behind it are void.
    Claim,
    /// Of an older claim than the newest one passed: a fencing failure below us, never history.
    Void,
    /// The next record of the partition's history.
    Record(Record<'a>),
}

/// A command whose events are not all there yet.
#[derive(Clone, Copy, Debug)]
struct OpenCommit {
    operation: OperationId,
    next_index: u16,
    size: u16,
}

/// Where a reader stands in one partition, and what must come next. Small and cloned freely: a reader that meets the
/// end inside a commit goes back to the copy it took before it.
#[derive(Clone, Debug)]
pub(crate) struct Continuity {
    at: ContextPartition,
    before: Offset,
    ordinal: Ordinal,
    claim_epoch: ClaimEpoch,
    emitted_at: Timestamp,
    commit: Option<OpenCommit>,
    voided: u64,
}

impl Continuity {
    pub(crate) fn new(at: ContextPartition, from: Checkpoint) -> Self {
        Self {
            at,
            before: from.offset,
            ordinal: from.ordinal,
            claim_epoch: from.claim_epoch,
            emitted_at: from.emitted_at,
            commit: None,
            voided: 0,
        }
    }

    /// True where a reader may stop: no command is half read.
    pub(crate) const fn is_between_commits(&self) -> bool {
        self.commit.is_none()
    }

    /// Records dropped so far because a newer claim was passed.
    pub(crate) const fn voided(&self) -> u64 {
        self.voided
    }

    /// Just behind the last record taken.
    pub(crate) const fn offset(&self) -> Offset {
        self.before
    }

    /// What a consumer must know to go on from `offset`.
    pub(crate) const fn checkpoint(&self, offset: Offset) -> Checkpoint {
        Checkpoint { offset, ordinal: self.ordinal, claim_epoch: self.claim_epoch, emitted_at: self.emitted_at }
    }

    /// Takes the next record. After an error this value is of no use any more.
    #[inline]
    pub(crate) fn step<'a>(&mut self, offset: RecordOffset, bytes: &'a [u8]) -> Result<Step<'a>, ReadError> {
        if offset.at() < self.before {
            return Err(self.broken(offset, "an offset that was passed already".into()));
        }
        let corrupt = |error: annals_model::avro::DecodeError| ReadError::Corrupt {
            at: self.at,
            offset,
            cause: error.to_string(),
        };
        if Claim::decode(bytes).map_err(corrupt)?.is_some() {
            if self.commit.is_some() {
                return Err(self.broken(offset, "a claim inside a command's events".into()));
            }
            self.before = offset.after();
            self.claim_epoch = ClaimEpoch(offset.after().0);
            return Ok(Step::Claim);
        }
        let record = Record::decode(offset, bytes).map_err(corrupt)?;
        if record.envelope.claim_epoch < self.claim_epoch && !is_on(SeededBug::ClaimEpochUnchecked) {
            self.before = offset.after();
            self.voided += 1;
            return Ok(Step::Void);
        }
        self.check(&record)?;
        self.before = offset.after();
        self.ordinal = record.envelope.ordinal;
        self.emitted_at = record.envelope.emitted_at;
        self.commit = (!record.ends_commit()).then(|| OpenCommit {
            operation: record.envelope.event_id.operation(),
            next_index: record.envelope.commit_index.0 + 1,
            size: record.envelope.commit_size,
        });
        Ok(Step::Record(record))
    }

    #[inline]
    fn check(&self, record: &Record<'_>) -> Result<(), ReadError> {
        let envelope = &record.envelope;
        if envelope.claim_epoch != self.claim_epoch && !is_on(SeededBug::ClaimEpochUnchecked) {
            let cause = format!("a record of claim {}, the newest claim is {}", envelope.claim_epoch, self.claim_epoch);
            return Err(self.broken(record.offset, cause));
        }
        if envelope.ordinal != self.ordinal.next() {
            let cause = format!("ordinal {} where {} follows", envelope.ordinal, self.ordinal.next());
            return Err(self.broken(record.offset, cause));
        }
        if envelope.emitted_at < self.emitted_at {
            let cause = format!("emitted_at {} after {}", envelope.emitted_at, self.emitted_at);
            return Err(self.broken(record.offset, cause));
        }
        let index = envelope.commit_index.0;
        let cause = match self.commit {
            None if index == 0 => return Ok(()),
            None => format!("a command's events from number {} on", index + 1),
            Some(open) if envelope.event_id.operation() != open.operation => {
                format!("an incomplete command: {} of {} events", open.next_index, open.size)
            }
            Some(open) if (index, envelope.commit_size) == (open.next_index, open.size) => return Ok(()),
            Some(open) => format!(
                "event {} of {} of a command where {} of {} follows",
                index + 1,
                envelope.commit_size,
                open.next_index + 1,
                open.size
            ),
        };
        Err(self.broken(record.offset, cause))
    }

    #[cold]
    pub(crate) fn broken(&self, offset: RecordOffset, cause: String) -> ReadError {
        ReadError::NotContiguous { at: self.at, before: self.before, offset, cause }
    }
}
