//! What is in the log? Counts for the operator, partition by partition.

use std::collections::BTreeMap;

use annals_model::ids::ContextId;
use annals_model::position::{ContextPartition, Offset, RecordOffset};
use annals_model::time::Timestamp;

use super::checked::continuity::Step;
use super::walk::{Visitor, partitions, walk};
use super::{EventLog, ReadError};

/// What one partition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStats {
    /// The partition.
    pub at: ContextPartition,
    /// Where it ends.
    pub end: Offset,
    /// Domain events.
    pub events: u64,
    /// Commands accepted, with events or without.
    pub commits: u64,
    /// Claims by owners.
    pub claims: u64,
    /// Bytes of all records, frames included.
    pub bytes: u64,
    /// `emitted_at` of the first and the last record.
    pub emitted: Option<(Timestamp, Timestamp)>,
    /// Records per type and major version, `$accepted` among them.
    pub types: BTreeMap<String, BTreeMap<i32, u64>>,
}

impl PartitionStats {
    fn new(at: ContextPartition) -> Self {
        Self {
            at,
            end: Offset::START,
            events: 0,
            commits: 0,
            claims: 0,
            bytes: 0,
            emitted: None,
            types: BTreeMap::new(),
        }
    }
}

impl Visitor for PartitionStats {
    fn record(&mut self, _: RecordOffset, bytes: &[u8], step: &Step<'_>) {
        self.bytes += bytes.len() as u64;
        let record = match step {
            Step::Claim => {
                self.claims += 1;
                return;
            }
            Step::Void => return,
            Step::Record(record) => record,
        };
        let envelope = &record.envelope;
        self.events += u64::from(!record.is_engine_record());
        self.commits += u64::from(record.ends_commit());
        let first = self.emitted.map_or(envelope.emitted_at, |(first, _)| first);
        self.emitted = Some((first, envelope.emitted_at));
        // Looked up by reference first: a type's name is copied once, not once per record.
        if !self.types.contains_key(envelope.event_type) {
            self.types.insert(envelope.event_type.into(), BTreeMap::new());
        }
        if let Some(versions) = self.types.get_mut(envelope.event_type) {
            *versions.entry(envelope.event_version).or_default() += 1;
        }
    }

    fn reached(&mut self, _: Offset, end: Offset) {
        self.end = end;
    }
}

/// Counts everything in the partitions of `contexts`, up to where they end now. Stops at the first damage.
pub async fn stats(log: &dyn EventLog, contexts: &[ContextId]) -> Result<Vec<PartitionStats>, ReadError> {
    let mut all = Vec::new();
    for at in partitions(log, contexts) {
        let mut stats = PartitionStats::new(at);
        walk(log, at, &mut stats).await?;
        all.push(stats);
    }
    Ok(all)
}
