//! How far is a checkpoint behind the log? Asked of the log itself, so that it is right whatever became of the runner.

use std::collections::HashMap;
use std::time::Duration;

use annals_model::position::{Checkpoint, ContextPartition, Offset, Ordinal};
use annals_model::time::Timestamp;

use crate::log::checked::CheckedReader;
use crate::log::{EventLog, ReadError};

/// What lies in a partition behind a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records.
    pub events: u64,
    /// When the oldest of them was written; nothing without any.
    pub oldest: Option<Timestamp>,
}

impl Lag {
    /// Asks the log: one question for a partition that is taken in whole, two for others.
    pub async fn of(log: &dyn EventLog, at: ContextPartition, from: Checkpoint) -> Result<Self, ReadError> {
        let events = Self::events(log, at, from).await?;
        let oldest = if events == 0 { None } else { first_behind(log, at, from).await? };
        Ok(Self { events, oldest })
    }

    /// Records behind a checkpoint.
    pub async fn events(log: &dyn EventLog, at: ContextPartition, from: Checkpoint) -> Result<u64, ReadError> {
        Ok(log.last_ordinal(at).await?.0.saturating_sub(from.ordinal.0))
    }

    /// Age of the oldest record, by the clock that events are written by.
    pub fn age(&self, now: Timestamp) -> Duration {
        let micros = self.oldest.map_or(0, |oldest| now.0.saturating_sub(oldest.0).max(0));
        Duration::from_micros(micros.unsigned_abs())
    }
}

/// Ordinals of the last records of partitions, asked for once per end: an end is known at little cost, what lies before it
/// must be read.
#[derive(Debug, Default)]
pub struct LastOrdinals {
    known: HashMap<ContextPartition, (Offset, Ordinal)>,
}

impl LastOrdinals {
    /// Ordinal of a partition's last durable record.
    pub async fn of(&mut self, log: &dyn EventLog, at: ContextPartition) -> Result<Ordinal, ReadError> {
        let end = log.end(at).await?;
        if let Some((_, ordinal)) = self.known.get(&at).filter(|(known, _)| *known == end) {
            return Ok(*ordinal);
        }
        let ordinal = log.last_ordinal(at).await?;
        self.known.insert(at, (end, ordinal));
        Ok(ordinal)
    }
}

/// When the first record behind a checkpoint was written; nothing if there is none.
pub async fn first_behind(
    log: &dyn EventLog,
    at: ContextPartition,
    from: Checkpoint,
) -> Result<Option<Timestamp>, ReadError> {
    let mut reader = CheckedReader::look_up(log, at, from).await?;
    while let Some(batch) = reader.next().await? {
        if let Some(first) = batch.records.first() {
            return Ok(Some(first.envelope.emitted_at));
        }
    }
    Ok(None)
}
