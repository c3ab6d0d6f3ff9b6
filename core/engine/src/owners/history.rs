//! Recorded events, read back from the log for answers and histories.

use annals_model::envelope::Record;
use annals_model::ids::{EventId, TenantId};
use annals_model::position::{ContextPartition, RecordOffset};
use tokio::time::{Instant, timeout_at};

use super::EngineHandle;
use super::batch::RETRY_AFTER;
use super::mailbox::{ReadAnswer, ReadQuery};
use super::state::LedgerEntry;
use crate::command::{AnsweredEvent, HistoryEvent, NotNow, ReadFailure};
use crate::log::{RawBatch, ReadError};

impl EngineHandle {
    /// The events of an accepted command, as the log has them.
    pub(super) async fn events_of(
        &self,
        at: ContextPartition,
        entry: &LedgerEntry,
        deadline: Instant,
    ) -> Result<Vec<AnsweredEvent>, ReadFailure> {
        if entry.events == 0 {
            return Ok(Vec::new());
        }
        // A commit lies in one append, so its records follow each other.
        let batch = self.records(at, deadline, self.shared.log.read_run(at, entry.first, entry.events.into())).await?;
        let mut events = Vec::with_capacity(batch.len());
        for (offset, bytes) in batch.iter() {
            let record = decode(at, offset, bytes)?;
            events.push(AnsweredEvent {
                event_id: record.envelope.event_id,
                event_type: record.envelope.event_type.to_owned(),
                offset,
                data: self.payload_json(at, &record)?,
            });
        }
        Ok(events)
    }

    /// The events at these offsets, with their envelopes.
    pub(super) async fn events_at(
        &self,
        at: ContextPartition,
        offsets: &[RecordOffset],
        deadline: Instant,
    ) -> Result<Vec<HistoryEvent>, ReadFailure> {
        let batch = self.records(at, deadline, self.shared.log.read_each(at, offsets)).await?;
        let mut events = Vec::with_capacity(batch.len());
        for (offset, bytes) in batch.iter() {
            events.push(self.history_event(at, decode(at, offset, bytes)?)?);
        }
        Ok(events)
    }

    /// An event of this tenant; nothing if there is none with this id.
    pub async fn event(
        &self,
        tenant: TenantId,
        id: EventId,
        deadline: Instant,
    ) -> Result<Option<HistoryEvent>, ReadFailure> {
        let (operation, Some(index)) = (id.operation(), id.commit_index()) else { return Ok(None) };
        let Some(at) = self.operation_partition(operation) else { return Ok(None) };
        let entry = match self.read(at, ReadQuery::Operation { tenant, id: operation }, deadline).await? {
            ReadAnswer::Operation(entry) => entry,
            ReadAnswer::Aggregate(_) | ReadAnswer::History(_) => unreachable!("answers match their queries"),
        };
        let Some(entry) = entry.filter(|entry| index.0 < entry.events) else { return Ok(None) };
        // A commit lies in one append, so its records follow each other.
        let run = self.shared.log.read_run(at, entry.first, usize::from(index.0) + 1);
        let batch = self.records(at, deadline, run).await?;
        let Some((offset, bytes)) = batch.iter().nth(index.0.into()) else { return Ok(None) };
        self.history_event(at, decode(at, offset, bytes)?).map(Some)
    }

    fn history_event(&self, at: ContextPartition, record: Record<'_>) -> Result<HistoryEvent, ReadFailure> {
        let payload = self.payload_json(at, &record)?;
        let Record { offset, envelope, .. } = record;
        Ok(HistoryEvent {
            at,
            offset,
            event_id: envelope.event_id,
            event_type: envelope.event_type.to_owned(),
            event_version: envelope.event_version,
            tenant_id: envelope.tenant_id,
            workspace_id: envelope.workspace_id,
            aggregate_type: envelope.aggregate_type.to_owned(),
            aggregate_id: envelope.aggregate_id,
            sequence: envelope.sequence,
            occurred_at: envelope.occurred_at,
            emitted_at: envelope.emitted_at,
            actor: envelope.actor_id.to_owned(),
            correlation_id: envelope.correlation(),
            causation_id: envelope.causation_id,
            client_request_id: envelope.request.map(|request| request.client_request_id.to_owned()),
            policy_decision: envelope.policy_decision.to_owned(),
            reason: envelope.reason.map(str::to_owned),
            adr_id: envelope.adr_id.map(str::to_owned),
            payload,
        })
    }

    async fn records(
        &self,
        at: ContextPartition,
        deadline: Instant,
        read: impl Future<Output = Result<RawBatch, ReadError>>,
    ) -> Result<RawBatch, ReadFailure> {
        match timeout_at(deadline, read).await {
            Ok(Ok(batch)) => {
                if self.shared.unread.ends() {
                    tracing::info!(%at, "recorded events can be read again");
                }
                Ok(batch)
            }
            Ok(Err(ReadError::Unavailable(cause))) => {
                if self.shared.unread.begins() {
                    tracing::warn!(%at, cause, "recorded events cannot be read now");
                }
                Err(ReadFailure::Busy { reason: NotNow::LogSilent, retry_after: RETRY_AFTER })
            }
            Ok(Err(error)) => Err(ReadFailure::Stopped { at, cause: error.to_string() }),
            Err(_) => Err(ReadFailure::Deadline),
        }
    }

    fn payload_json(&self, at: ContextPartition, record: &Record<'_>) -> Result<serde_json::Value, ReadFailure> {
        let stopped = |cause: String| ReadFailure::Stopped { at, cause };
        let schema = self.shared.catalogue.get(record.schema).ok_or_else(|| {
            stopped(format!(
                "offset {}: schema {} is unknown to this build; upgrade it",
                record.offset, record.schema.0
            ))
        })?;
        (schema.payload_json)(record.payload)
            .map_err(|error| stopped(format!("offset {}: {error}; run `annals log verify`", record.offset)))
    }
}

fn decode(at: ContextPartition, offset: RecordOffset, bytes: &[u8]) -> Result<Record<'_>, ReadFailure> {
    Record::decode(offset, bytes).map_err(|error| ReadFailure::Stopped {
        at,
        cause: format!("offset {offset}: {error}; run `annals log verify`"),
    })
}
