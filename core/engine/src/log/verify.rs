//! Is the log what was written? Goes over everything and checks what no single reader can: besides checksums,
//! ordinals and whole commands also the sequences of every aggregate, that every id routes to where its event lies,
//! and that no command was accepted twice.

mod history;

use std::fmt;

use annals_model::envelope::SchemaId;
use annals_model::ids::ContextId;
use annals_model::position::{ContextPartition, Offset, Ordinal, RecordOffset};
use sha2::{Digest, Sha256};

use self::history::History;
use super::checked::continuity::Step;
use super::walk::{Visitor, partitions, walk};
use super::{EventLog, ReadError};
use crate::limits;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Every partition, in order.
    pub partitions: Vec<PartitionReport>,
    /// What is wrong, by partition and offset.
    pub findings: Vec<VerifyFinding>,
    /// Further findings that are not listed.
    pub findings_left_out: u64,
    /// What is wrong beside the records, with the first entry of `meta` that is not what was put there.
    pub meta: Option<String>,
}

impl VerifyReport {
    /// True if nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.meta.is_none()
    }
}

/// What one partition holds, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReport {
    /// The partition.
    pub at: ContextPartition,
    /// Where it ended when its verification began.
    pub end: Offset,
    /// Ordinal of its last record.
    pub ordinal: Ordinal,
    /// Domain events.
    pub events: u64,
    /// Commands accepted, with events or without.
    pub commits: u64,
    /// Claims by owners.
    pub claims: u64,
    /// Aggregates that have events.
    pub aggregates: u64,
    /// Bytes of all records, frames included.
    pub bytes: u64,
    /// SHA-256 over the framed bytes of all records in order, claims included.
    pub digest: [u8; 32],
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyFinding {
    /// Where.
    pub at: ContextPartition,
    /// At or before which record.
    pub offset: RecordOffset,
    /// What is wrong.
    pub cause: String,
}

impl fmt::Display for VerifyFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: offset {}: {}", self.at, self.offset, self.cause)
    }
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// The partition being read.
    pub at: ContextPartition,
    /// Partitions done.
    pub partitions_done: usize,
    /// Partitions in all.
    pub partitions: usize,
    /// Position within this one.
    pub position: Offset,
    /// Where this one ends.
    pub end: Offset,
    /// Records passed in all partitions.
    pub records: u64,
    /// Bytes passed in all partitions.
    pub bytes: u64,
}

/// Verifies all partitions of `contexts`, up to where each ends when its turn comes; owners may go on writing. An
/// error means that the log cannot be read now, which says nothing about its content.
pub async fn verify(
    log: &dyn EventLog,
    contexts: &[ContextId],
    known_schema: &(dyn Fn(SchemaId) -> bool + Sync),
    progress: &mut (dyn FnMut(VerifyProgress) + Send),
) -> Result<VerifyReport, ReadError> {
    let all = partitions(log, contexts);
    let mut report = VerifyReport::default();
    match log.meta_list("").await {
        Ok(_) => {}
        Err(ReadError::CorruptMeta(cause)) => report.meta = Some(cause),
        Err(error) => return Err(error),
    }
    let (mut records, mut bytes) = (0, 0);
    for (partitions_done, at) in all.iter().copied().enumerate() {
        let (position, end) = (Offset::START, Offset::START);
        let before = VerifyProgress { at, partitions_done, partitions: all.len(), position, end, records, bytes };
        let mut check = PartitionCheck {
            history: History::new(at, log.partitions(at.context), known_schema),
            digest: Sha256::new(),
            report: PartitionReport::new(at),
            records: 0,
            findings: Vec::new(),
            left_out: 0,
            before,
            progress: &mut *progress,
        };
        match walk(log, at, &mut check).await {
            Ok(walked) if walked.voided > 0 => {
                let cause = format!("{} records of a fenced owner; no reader shows them", walked.voided);
                check.find(RecordOffset(walked.end.0), cause);
            }
            Ok(_) => {}
            Err(error) => {
                let (offset, cause) = located(error)?;
                check.find(offset, cause);
            }
        }
        records += check.records;
        bytes += check.report.bytes;
        report.findings_left_out += check.left_out;
        report.findings.append(&mut check.findings);
        report.partitions.push(check.finish());
    }
    Ok(report)
}

/// Where a read broke and why; an error that is not about the content is handed on.
fn located(error: ReadError) -> Result<(RecordOffset, String), ReadError> {
    match error {
        ReadError::Unavailable(_) | ReadError::CorruptMeta(_) => Err(error),
        ReadError::Corrupt { offset, cause, .. } => Ok((offset, cause)),
        ReadError::NotContiguous { before, offset, cause, .. } => Ok((offset, format!("behind {before}: {cause}"))),
        ReadError::BeyondEnd { position, end, .. } => {
            Ok((RecordOffset(position.0), format!("records behind the recorded end {end}")))
        }
    }
}

impl PartitionReport {
    fn new(at: ContextPartition) -> Self {
        Self {
            at,
            end: Offset::START,
            ordinal: Ordinal::ZERO,
            events: 0,
            commits: 0,
            claims: 0,
            aggregates: 0,
            bytes: 0,
            digest: [0; 32],
        }
    }
}

struct PartitionCheck<'a> {
    history: History<'a>,
    digest: Sha256,
    report: PartitionReport,
    records: u64,
    findings: Vec<VerifyFinding>,
    left_out: u64,
    /// Where the verification stood before this partition.
    before: VerifyProgress,
    progress: &'a mut (dyn FnMut(VerifyProgress) + Send),
}

impl PartitionCheck<'_> {
    fn find(&mut self, offset: RecordOffset, cause: String) {
        if self.findings.len() < limits::VERIFY_FINDINGS_PER_PARTITION_MAX {
            self.findings.push(VerifyFinding { at: self.report.at, offset, cause });
        } else {
            self.left_out += 1;
        }
    }

    fn finish(self) -> PartitionReport {
        let digest = self.digest.finalize().into();
        PartitionReport { aggregates: self.history.aggregates(), digest, ..self.report }
    }
}

impl Visitor for PartitionCheck<'_> {
    fn record(&mut self, offset: RecordOffset, bytes: &[u8], step: &Step<'_>) {
        self.digest.update(bytes);
        self.records += 1;
        self.report.bytes += bytes.len() as u64;
        let record = match step {
            Step::Claim => {
                self.report.claims += 1;
                return;
            }
            Step::Void => return,
            Step::Record(record) => record,
        };
        self.report.events += u64::from(!record.is_engine_record());
        self.report.commits += u64::from(record.ends_commit());
        self.report.ordinal = record.envelope.ordinal;
        if let Err(cause) = self.history.check(record) {
            self.find(offset, cause);
        }
    }

    fn reached(&mut self, position: Offset, end: Offset) {
        self.report.end = end;
        let (records, bytes) = (self.before.records + self.records, self.before.bytes + self.report.bytes);
        (self.progress)(VerifyProgress { position, end, records, bytes, ..self.before });
    }
}

#[cfg(test)]
mod tests;
