//! The floor of a rebuild: what a projector without a fold does. It reads the log in order, and upserts the events of
//! each batch into the table in one transaction. Events of one kind that follow each other share a statement.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_engine::log::EventLog;
use annals_engine::log::checked::CheckedReader;
use annals_model::envelope::Record;
use annals_model::event::EventSet as _;
use annals_model::ids::Partition;
use annals_model::position::{Checkpoint, ContextPartition};
use annals_schemas::contexts::PORTFOLIO;
use annals_schemas::portfolio::application::Event;
use anyhow::ensure;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::limits;
use crate::rounds::Turn;

/// One event, as far as a table of applications wants it.
#[derive(Debug)]
pub(crate) struct Upsert {
    pub(crate) tenant: Uuid,
    pub(crate) workspace: Uuid,
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) event: Event,
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

    fn keys(&self) -> [Vec<u8>; 3] {
        [self.tenant, self.workspace, self.id].map(|id| id.into_bytes().to_vec())
    }

    /// Events that one statement can take together.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.event) == std::mem::discriminant(&other.event)
    }
}

/// Where they go.
pub(crate) trait Upserts {
    /// One transaction.
    async fn commit(&mut self, batch: &[Upsert]) -> anyhow::Result<()>;
}

/// The first events of every partition.
pub(crate) async fn upserts(log: &Arc<dyn EventLog>, into: &mut impl Upserts) -> anyhow::Result<Turn> {
    let partitions = log.partitions(PORTFOLIO);
    let each = limits::UPSERT_EVENTS_MAX / u64::from(partitions);
    let (mut done, mut took) = (0, Duration::ZERO);
    for partition in (0..partitions).map(Partition) {
        let at = ContextPartition { context: PORTFOLIO, partition };
        let began = Instant::now();
        let mut reader = CheckedReader::open(&**log, at, Checkpoint::default()).await?;
        let (mut batch, mut left) = (Vec::with_capacity(limits::UPSERT_BATCH_EVENTS), each);
        while left > 0
            && let Some(records) = reader.next().await?
        {
            for record in records.records.iter().take(usize::try_from(left)?) {
                batch.push(Upsert::of(record)?);
                left -= 1;
                if batch.len() == limits::UPSERT_BATCH_EVENTS || left == 0 {
                    into.commit(&batch).await?;
                    done += batch.len() as u64;
                    batch.clear();
                }
            }
        }
        took += began.elapsed();
    }
    ensure!(done > 0, "the log is empty");
    Ok(Turn::of(done, took))
}

/// Into a new SQLite file.
pub(crate) async fn sqlite_upserts(log: &Arc<dyn EventLog>, path: &Path) -> anyhow::Result<Turn> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::raw_sql(
        "CREATE TABLE applications (tenant_id BLOB NOT NULL, workspace_id BLOB NOT NULL, id BLOB NOT NULL,
            name TEXT NOT NULL, source TEXT, release TEXT, retired INTEGER NOT NULL, version INTEGER NOT NULL,
            deleted INTEGER NOT NULL, PRIMARY KEY (tenant_id, workspace_id, id)) STRICT, WITHOUT ROWID;
         CREATE INDEX applications_by_name ON applications (tenant_id, workspace_id, name, id);",
    )
    .execute(&mut connection)
    .await?;
    let mut table = SqliteTable(connection);
    let turn = upserts(log, &mut table).await?;
    table.0.close().await?;
    Ok(turn)
}

struct SqliteTable(SqliteConnection);

impl Upserts for SqliteTable {
    async fn commit(&mut self, batch: &[Upsert]) -> anyhow::Result<()> {
        let mut transaction = self.0.begin().await?;
        for run in batch.chunk_by(Upsert::same_kind) {
            sqlite_statement(run).build().execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

fn sqlite_statement(run: &[Upsert]) -> QueryBuilder<Sqlite> {
    const KEYS: &str = ") AS v WHERE applications.tenant_id = v.column1 AND applications.workspace_id = v.column2 \
                        AND applications.id = v.column3";
    match &run[0].event {
        Event::Registered(_) => {
            let mut insert = QueryBuilder::new(
                "INSERT INTO applications (tenant_id, workspace_id, id, version, name, source, retired, deleted) ",
            );
            insert.push_values(run, |mut values, upsert| {
                let Event::Registered(event) = &upsert.event else { return };
                for key in upsert.keys() {
                    values.push_bind(key);
                }
                values.push_bind(upsert.version).push_bind(event.name.clone()).push_bind(event.source.clone());
                values.push("0").push("0");
            });
            insert.push(
                " ON CONFLICT (tenant_id, workspace_id, id) DO UPDATE SET version = excluded.version, \
                 name = excluded.name, source = excluded.source, retired = 0, deleted = 0",
            );
            insert
        }
        other => {
            let set = if matches!(other, Event::VersionReleased(_)) { "release = v.column5" } else { "retired = 1" };
            let mut update = QueryBuilder::new(format!("UPDATE applications SET version = v.column4, {set} FROM ("));
            update.push_values(run, |mut values, upsert| {
                for key in upsert.keys() {
                    values.push_bind(key);
                }
                values.push_bind(upsert.version);
                if let Event::VersionReleased(event) = &upsert.event {
                    values.push_bind(event.number.clone());
                }
            });
            update.push(KEYS);
            update
        }
    }
}
