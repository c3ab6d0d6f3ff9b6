//! The rules that tie one record to the one before it.

#[cfg(feature = "seeded-bugs")]
mod mistakes;

use annals_model::avro::DecodeError;
use annals_model::engine_record::Claim;
use annals_model::envelope::Record;
use annals_model::ids::OperationId;
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, Offset, Ordinal, RecordOffset};
use annals_model::time::Timestamp;

use crate::log::ReadError;

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

/// Just behind a record.
#[derive(Clone, Copy, Debug)]
struct Passed {
    before: Offset,
    ordinal: Ordinal,
    emitted_at: Timestamp,
    voided: u64,
}

/// A command whose events are not all there yet.
#[derive(Clone, Copy, Debug)]
struct OpenCommit {
    operation: OperationId,
    next_index: u16,
    size: u16,
    /// Where it begins.
    begun: Passed,
}

/// Where a reader stands in one partition, and what must come next. A reader that meets the end inside a commit goes back
/// to where it began ([`Self::whole`]).
#[derive(Clone, Debug)]
pub(crate) struct Continuity {
    at: ContextPartition,
    claim_epoch: ClaimEpoch,
    passed: Passed,
    commit: Option<OpenCommit>,
}

impl Continuity {
    pub(crate) fn new(at: ContextPartition, from: Checkpoint) -> Self {
        Self {
            at,
            claim_epoch: from.claim_epoch,
            passed: Passed { before: from.offset, ordinal: from.ordinal, emitted_at: from.emitted_at, voided: 0 },
            commit: None,
        }
    }

    /// True where a reader may stop: no command is half read.
    pub(crate) const fn is_between_commits(&self) -> bool {
        self.commit.is_none()
    }

    /// Behind the last whole commit. No claim lies inside a commit, so its epoch is this one's.
    pub(crate) fn whole(self) -> Self {
        let passed = self.commit.map_or(self.passed, |open| open.begun);
        Self { passed, commit: None, ..self }
    }

    /// Records dropped so far because a newer claim was passed.
    pub(crate) const fn voided(&self) -> u64 {
        self.passed.voided
    }

    /// Just behind the last record taken.
    pub(crate) const fn offset(&self) -> Offset {
        self.passed.before
    }

    /// What a consumer must know to go on from `offset`.
    pub(crate) const fn checkpoint(&self, offset: Offset) -> Checkpoint {
        let Passed { ordinal, emitted_at, .. } = self.passed;
        Checkpoint { offset, ordinal, claim_epoch: self.claim_epoch, emitted_at }
    }

    /// Takes the next record. After an error it stands where it stood before.
    #[inline]
    pub(crate) fn step<'a>(&mut self, offset: RecordOffset, bytes: &'a [u8]) -> Result<Step<'a>, ReadError> {
        if offset.at() < self.passed.before {
            return Err(self.broken(offset, "an offset that was passed already"));
        }
        let corrupt = |error| self.corrupt(offset, &error);
        if Claim::decode(bytes).map_err(corrupt)?.is_some() {
            if self.commit.is_some() {
                return Err(self.broken(offset, "a claim inside a command's events"));
            }
            self.passed.before = offset.after();
            self.claim_epoch = ClaimEpoch(offset.after().0);
            return Ok(Step::Claim);
        }
        let record = Record::decode(offset, bytes).map_err(corrupt)?;
        let claim_epoch = record.envelope.claim_epoch;
        #[cfg(feature = "seeded-bugs")]
        let claim_epoch = mistakes::believed(claim_epoch, self.claim_epoch);
        if claim_epoch < self.claim_epoch {
            self.passed.before = offset.after();
            self.passed.voided += 1;
            return Ok(Step::Void);
        }
        if claim_epoch != self.claim_epoch || !self.follows(&record) {
            return Err(self.does_not_follow(&record));
        }
        let begun = self.commit.map_or(self.passed, |open| open.begun);
        self.commit = (!record.ends_commit()).then(|| OpenCommit {
            operation: record.envelope.event_id.operation(),
            next_index: record.envelope.commit_index.0 + 1,
            size: record.envelope.commit_size,
            begun,
        });
        self.passed.before = offset.after();
        self.passed.ordinal = record.envelope.ordinal;
        self.passed.emitted_at = record.envelope.emitted_at;
        Ok(Step::Record(record))
    }

    /// True if this is what comes next within its claim.
    #[inline]
    fn follows(&self, record: &Record<'_>) -> bool {
        let envelope = &record.envelope;
        envelope.ordinal == self.passed.ordinal.next()
            && envelope.emitted_at >= self.passed.emitted_at
            && match self.commit {
                None => envelope.commit_index.0 == 0,
                Some(open) => {
                    envelope.event_id.operation() == open.operation
                        && (envelope.commit_index.0, envelope.commit_size) == (open.next_index, open.size)
                }
            }
    }

    /// Why it does not.
    #[cold]
    fn does_not_follow(&self, record: &Record<'_>) -> ReadError {
        let envelope = &record.envelope;
        let (ordinal, index) = (self.passed.ordinal.next(), envelope.commit_index.0 + 1);
        let cause = if envelope.claim_epoch != self.claim_epoch {
            format!("a record of claim {}, the newest claim is {}", envelope.claim_epoch, self.claim_epoch)
        } else if envelope.ordinal != ordinal {
            format!("ordinal {} where {ordinal} follows", envelope.ordinal)
        } else if envelope.emitted_at < self.passed.emitted_at {
            format!("emitted_at {} after {}", envelope.emitted_at, self.passed.emitted_at)
        } else {
            match self.commit {
                None => format!("a command's events from number {index} on"),
                Some(open) if envelope.event_id.operation() != open.operation => {
                    format!("an incomplete command: {} of {} events", open.next_index, open.size)
                }
                Some(open) => format!(
                    "event {index} of {} of a command where {} of {} follows",
                    envelope.commit_size,
                    open.next_index + 1,
                    open.size
                ),
            }
        };
        self.broken(record.offset, cause)
    }

    #[cold]
    fn corrupt(&self, offset: RecordOffset, error: &DecodeError) -> ReadError {
        ReadError::Corrupt { at: self.at, offset, cause: error.to_string() }
    }

    #[cold]
    pub(crate) fn broken(&self, offset: RecordOffset, cause: impl Into<String>) -> ReadError {
        ReadError::NotContiguous { at: self.at, before: self.passed.before, offset, cause: cause.into() }
    }
}
