//! Into PostgreSQL.

use std::sync::Arc;

use annals_engine::log::EventLog;
use annals_schemas::portfolio::application::Event;
use sqlx::{Connection as _, PgConnection};

use super::{Upsert, Upserts, upserts};
use crate::rounds::Turn;

const INSERT: &str = "
    INSERT INTO applications (tenant_id, workspace_id, id, version, name, source, retired, deleted)
    SELECT u.tenant_id, u.workspace_id, u.id, u.version, u.name, u.source, false, false
    FROM UNNEST($1::text[]::uuid[], $2::text[]::uuid[], $3::text[]::uuid[], $4::bigint[], $5::text[], $6::text[])
        AS u (tenant_id, workspace_id, id, version, name, source)
    ON CONFLICT (tenant_id, workspace_id, id) DO UPDATE
    SET version = excluded.version, name = excluded.name, source = excluded.source, retired = false, deleted = false";

// The rows are there: what is inserted beside the key and what changes is never seen.
const RELEASE: &str = "
    INSERT INTO applications (tenant_id, workspace_id, id, version, release, name, retired, deleted)
    SELECT u.tenant_id, u.workspace_id, u.id, u.version, u.release, '', false, false
    FROM UNNEST($1::text[]::uuid[], $2::text[]::uuid[], $3::text[]::uuid[], $4::bigint[], $5::text[])
        AS u (tenant_id, workspace_id, id, version, release)
    ON CONFLICT (tenant_id, workspace_id, id) DO UPDATE SET version = excluded.version, release = excluded.release";

const RETIRE: &str = "
    INSERT INTO applications (tenant_id, workspace_id, id, version, name, retired, deleted)
    SELECT u.tenant_id, u.workspace_id, u.id, u.version, '', true, false
    FROM UNNEST($1::text[]::uuid[], $2::text[]::uuid[], $3::text[]::uuid[], $4::bigint[])
        AS u (tenant_id, workspace_id, id, version)
    ON CONFLICT (tenant_id, workspace_id, id) DO UPDATE SET version = excluded.version, retired = true";

/// Into an empty table. A commit is not waited for on the disk, as the engine's own sink does not either.
pub(crate) async fn postgres_upserts(log: &Arc<dyn EventLog>, url: &str) -> anyhow::Result<Turn> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(
        "SET synchronous_commit = off;
         CREATE SCHEMA IF NOT EXISTS floor;
         SET search_path = floor;
         DROP TABLE IF EXISTS applications;
         CREATE TABLE applications (tenant_id uuid NOT NULL, workspace_id uuid NOT NULL, id uuid NOT NULL,
            name text NOT NULL, source text, release text, retired boolean NOT NULL, version bigint NOT NULL,
            deleted boolean NOT NULL, PRIMARY KEY (tenant_id, workspace_id, id));
         CREATE INDEX applications_by_name ON applications (tenant_id, workspace_id, name, id);",
    )
    .execute(&mut connection)
    .await?;
    let mut table = PostgresTable(connection);
    let turn = upserts(log, &mut table).await?;
    table.0.close().await?;
    Ok(turn)
}

struct PostgresTable(PgConnection);

impl Upserts for PostgresTable {
    async fn commit(&mut self, batch: &[Upsert]) -> anyhow::Result<()> {
        let mut transaction = self.0.begin().await?;
        for run in batch.chunk_by(Upsert::shares_statement) {
            let statement = match &run[0].event {
                Event::Registered(_) => INSERT,
                Event::VersionReleased(_) => RELEASE,
                _ => RETIRE,
            };
            let texts = |of: fn(&Upsert) -> String| run.iter().map(of).collect::<Vec<String>>();
            let query = sqlx::query(statement)
                .bind(texts(|upsert| upsert.tenant.to_string()))
                .bind(texts(|upsert| upsert.workspace.to_string()))
                .bind(texts(|upsert| upsert.id.to_string()))
                .bind(run.iter().map(|upsert| upsert.version).collect::<Vec<i64>>());
            let query = match &run[0].event {
                Event::Registered(_) => query.bind(texts(name)).bind(run.iter().map(source).collect::<Vec<_>>()),
                Event::VersionReleased(_) => query.bind(texts(number)),
                _ => query,
            };
            query.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

fn name(upsert: &Upsert) -> String {
    if let Event::Registered(event) = &upsert.event { event.name.clone() } else { String::new() }
}

fn source(upsert: &Upsert) -> Option<String> {
    if let Event::Registered(event) = &upsert.event { event.source.clone() } else { None }
}

fn number(upsert: &Upsert) -> String {
    if let Event::VersionReleased(event) = &upsert.event { event.number.clone() } else { String::new() }
}
