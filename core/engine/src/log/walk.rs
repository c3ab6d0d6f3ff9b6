//! Goes over one partition from its start to where it ended when it began, checking as every reader does.

use annals_model::position::{Checkpoint, ContextPartition, Offset, RecordOffset};

use super::checked::continuity::{Continuity, Step};
use super::{EventLog, RawBatch, ReadError};

/// Sees what a walk passes.
pub(super) trait Visitor {
    /// One record, its bytes as they are framed in the log, and what it is to a reader.
    fn record(&mut self, offset: RecordOffset, bytes: &[u8], step: &Step<'_>);
    /// How far the walk has come, and how far it goes.
    fn reached(&mut self, position: Offset, end: Offset);
}

/// Where a partition ended, and records that a newer claim made void.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    pub(super) end: Offset,
    pub(super) voided: u64,
}

/// Walks one partition. The first break ends it: what lies behind one means nothing.
pub(super) async fn walk(
    log: &dyn EventLog,
    at: ContextPartition,
    visitor: &mut (dyn Visitor + Send),
) -> Result<Walked, ReadError> {
    let end = log.end(at).await?;
    let mut reader = log.reader(at, Offset::START).await?;
    let mut continuity = Continuity::new(at, Checkpoint::default());
    let mut batch = RawBatch::default();
    // One read more than needed: nothing may lie behind the recorded end, unless it is still being written.
    loop {
        let reached = reader.position() >= end;
        reader.next(&mut batch).await?;
        for (offset, bytes) in batch.iter().filter(|(offset, _)| offset.at() < end) {
            let step = continuity.step(offset, bytes)?;
            visitor.record(offset, bytes, &step);
        }
        visitor.reached(reader.position().min(end), end);
        if reached {
            break;
        }
        if batch.is_empty() {
            return Err(continuity.broken(RecordOffset(end.0), format!("nothing up to the recorded end {end}")));
        }
    }
    if reader.position() > log.end(at).await? {
        return Err(continuity.broken(RecordOffset(end.0), format!("records behind the recorded end {end}")));
    }
    if !continuity.is_between_commits() {
        return Err(continuity.broken(RecordOffset(end.0), "the end of the log inside a command's events"));
    }
    Ok(Walked { end, voided: continuity.voided() })
}

/// All partitions of some contexts.
pub(super) fn partitions(log: &dyn EventLog, contexts: &[annals_model::ids::ContextId]) -> Vec<ContextPartition> {
    let of = |context| (0..log.partitions(context)).map(move |number| (context, number));
    let all = contexts.iter().copied().flat_map(of);
    all.map(|(context, number)| ContextPartition { context, partition: annals_model::ids::Partition(number) }).collect()
}
