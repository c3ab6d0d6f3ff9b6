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

struct SqliteTable(SqliteConnection);

impl Upserts for SqliteTable {
    async fn commit(&mut self, batch: &[Upsert]) -> anyhow::Result<()> {
        let mut transaction = self.0.begin().await?;
        for run in batch.chunk_by(Upsert::shares_statement) {
            sqlite_statement(run).build().execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

fn sqlite_statement(run: &[Upsert]) -> QueryBuilder<Sqlite> {
    let (columns, changes) = match &run[0].event {
        Event::Registered(_) => ("name, source", "name = excluded.name, source = excluded.source, retired = 0"),
        // The rows are there: the name is never seen.
        Event::VersionReleased(_) => ("name, release", "release = excluded.release"),
        _ => ("name", "retired = 1"),
    };
    let mut statement = QueryBuilder::new(format!(
        "INSERT INTO applications (tenant_id, workspace_id, id, version, retired, deleted, {columns}) "
    ));
    statement.push_values(run, |mut values, upsert| {
        for id in [upsert.tenant, upsert.workspace, upsert.id] {
            values.push_bind(id.into_bytes().to_vec());
        }
        values.push_bind(upsert.version).push("0").push("0");
        match &upsert.event {
            Event::Registered(event) => values.push_bind(event.name.clone()).push_bind(event.source.clone()),
            Event::VersionReleased(event) => values.push("''").push_bind(event.number.clone()),
            _ => values.push("''"),
        };
    });
    statement.push(format!(
        " ON CONFLICT (tenant_id, workspace_id, id) DO UPDATE SET version = excluded.version, {changes}"
    ));
    statement
}
