//! The processes that work on the directory.

use annals_engine::limits::{PROCESS_FORGOTTEN_MS, PROCESSES_KNOWN_MAX};
use annals_engine::owners::system_now;
use annals_engine::sink::{KnownProcess, ProcessReport, StoreError};
use sqlx::sqlite::SqlitePool;

use super::connect::failed;
use crate::sinks::processes::{known_processes, report_text};

/// All processes of a directory are on one machine: its clock is the store's.
fn now_ms() -> i64 {
    system_now().0 / 1_000
}

pub(super) async fn tell(registry: &SqlitePool, process: &ProcessReport) -> Result<(), StoreError> {
    let mut transaction = registry.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    sqlx::query("INSERT OR REPLACE INTO processes (id, seen_at_ms, report) VALUES (?, ?, ?)")
        .bind(&process.id)
        .bind(now_ms())
        .bind(report_text(process))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::query(
        "DELETE FROM processes WHERE id <> ?1 AND (seen_at_ms < ?2
         OR id NOT IN (SELECT id FROM processes WHERE id <> ?1 ORDER BY seen_at_ms DESC LIMIT ?3))",
    )
    .bind(&process.id)
    .bind(now_ms().saturating_sub_unsigned(PROCESS_FORGOTTEN_MS))
    .bind(PROCESSES_KNOWN_MAX - 1)
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

pub(super) async fn forget(registry: &SqlitePool, id: &str) -> Result<(), StoreError> {
    let forgetting = sqlx::query("DELETE FROM processes WHERE id = ?").bind(id).execute(registry);
    forgetting.await.map(|_| ()).map_err(failed)
}

pub(super) async fn known(registry: &SqlitePool) -> Result<Vec<KnownProcess>, StoreError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT report, ? - seen_at_ms FROM processes ORDER BY seen_at_ms, id LIMIT ?")
            .bind(now_ms())
            .bind(PROCESSES_KNOWN_MAX)
            .fetch_all(registry)
            .await
            .map_err(failed)?;
    Ok(known_processes(rows))
}
