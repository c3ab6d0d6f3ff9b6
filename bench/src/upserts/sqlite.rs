//! Into SQLite.

use std::path::Path;
use std::sync::Arc;

use annals_engine::log::EventLog;
use annals_schemas::portfolio::application::Event;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, QueryBuilder, Sqlite, SqliteConnection};

use super::{Upsert, Upserts, upserts};
use crate::rounds::Turn;

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

fn keys(upsert: &Upsert) -> [Vec<u8>; 3] {
    [upsert.tenant, upsert.workspace, upsert.id].map(|id| id.into_bytes().to_vec())
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
                for key in keys(upsert) {
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
                for key in keys(upsert) {
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
