//! The floor of a rebuild: what a projector without a fold does. It reads the log in order, and upserts the events of
//! each batch into the table in one transaction. Events of one kind that follow each other share a statement.

mod postgres;
mod sqlite;

use std::sync::Arc;
use std::time::Instant;

use annals_engine::log::EventLog;
use annals_engine::log::checked::CheckedReader;
use annals_model::envelope::Record;
use annals_model::event::EventSet as _;
use annals_model::ids::Partition;
use annals_model::position::{Checkpoint, ContextPartition};
use annals_schemas::contexts::PORTFOLIO;
use annals_schemas::portfolio::application::Event;
use anyhow::ensure;
use uuid::Uuid;

pub(crate) use self::postgres::postgres_upserts;
pub(crate) use self::sqlite::sqlite_upserts;
use crate::limits;
use crate::rounds::Turn;

/// One event, as far as a table of applications wants it.
#[derive(Debug)]
struct Upsert {
    tenant: Uuid,
    workspace: Uuid,
    id: Uuid,
    version: i64,
    event: Event,
}

impl Upsert {
    fn of(record: &Record<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            tenant: record.envelope.tenant_id.0,
            workspace: record.envelope.workspace_id.0,
            id: record.envelope.aggregate_id.0,
            version: i64::try_from(record.envelope.sequence.0)?,
            event: Event::decode_any(record.schema, record.payload)?,
        })
    }

    /// Events that one statement can take together: of one kind, and of one version, so that no row is there twice.
    fn shares_statement(&self, other: &Self) -> bool {
        let kind = std::mem::discriminant(&self.event);
        kind == std::mem::discriminant(&other.event) && self.version == other.version
    }
}

/// Where they go.
trait Upserts {
    /// One transaction.
    async fn commit(&mut self, batch: &[Upsert]) -> anyhow::Result<()>;
}

/// All events, partition by partition.
async fn upserts(log: &Arc<dyn EventLog>, into: &mut impl Upserts) -> anyhow::Result<Turn> {
    let began = Instant::now();
    let mut done = 0;
    for partition in (0..log.partitions(PORTFOLIO)).map(Partition) {
        let at = ContextPartition { context: PORTFOLIO, partition };
        let mut reader = CheckedReader::open(&**log, at, Checkpoint::default()).await?;
        let mut batch = Vec::with_capacity(limits::UPSERT_BATCH_EVENTS);
        while let Some(records) = reader.next().await? {
            for record in &records.records {
                batch.push(Upsert::of(record)?);
                if batch.len() == limits::UPSERT_BATCH_EVENTS {
                    into.commit(&batch).await?;
                    done += batch.len() as u64;
                    batch.clear();
                }
            }
        }
        if !batch.is_empty() {
            into.commit(&batch).await?;
            done += batch.len() as u64;
        }
    }
    ensure!(done > 0, "the log is empty");
    Ok(Turn::of(done, began.elapsed()))
}
