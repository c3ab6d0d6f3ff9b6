//! The processes that work on the database, whatever machine they are on: the database's clock counts.

use annals_engine::limits::{PROCESS_FORGOTTEN_MS, PROCESSES_KNOWN_MAX};
use annals_engine::sink::{KnownProcess, ProcessReport, StoreError};
use sqlx::postgres::PgPool;

use super::answer::{unavailable, within};
use crate::limits;
use crate::sinks::processes::{known_processes, report_text};

pub(super) async fn tell(registry: &PgPool, process: &ProcessReport) -> Result<(), StoreError> {
    let telling = sqlx::query(
        "WITH told AS (
             INSERT INTO annals.processes (id, seen_at, report) VALUES ($1, clock_timestamp(), $2)
             ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, report = excluded.report
         )
         DELETE FROM annals.processes WHERE id <> $1 AND (
             seen_at < clock_timestamp() - $3 * interval '1 millisecond'
             OR id NOT IN (SELECT id FROM annals.processes WHERE id <> $1 ORDER BY seen_at DESC LIMIT $4))",
    )
    .bind(&process.id)
    .bind(report_text(process))
    .bind(PROCESS_FORGOTTEN_MS as f64)
    .bind(i64::from(PROCESSES_KNOWN_MAX) - 1)
    .execute(registry);
    within(limits::STORE_ANSWER_MS_MAX, telling).await.map(|_| ()).map_err(unavailable)
}

pub(super) async fn forget(registry: &PgPool, id: &str) -> Result<(), StoreError> {
    let forgetting = sqlx::query("DELETE FROM annals.processes WHERE id = $1").bind(id).execute(registry);
    within(limits::STORE_ANSWER_MS_MAX, forgetting).await.map(|_| ()).map_err(unavailable)
}

pub(super) async fn known(registry: &PgPool) -> Result<Vec<KnownProcess>, StoreError> {
    let asking = sqlx::query_as(
        "SELECT report, (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint
         FROM annals.processes ORDER BY seen_at, id LIMIT $1",
    )
    .bind(i64::from(PROCESSES_KNOWN_MAX))
    .fetch_all(registry);
    within(limits::STORE_ANSWER_MS_MAX, asking).await.map(known_processes).map_err(unavailable)
}
