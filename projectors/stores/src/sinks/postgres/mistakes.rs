//! What a sink does wrong on purpose, and where a test may stop it, in builds with the feature `seeded-bugs`.

use annals_engine::seeded::{Point, SeededBug, is_on, reached_by_task};
use sqlx::postgres::{PgConnectOptions, PgConnection};

/// True if sessions that were given up go on.
pub(super) fn leaves_sessions_behind() -> bool {
    is_on(SeededBug::SessionsLeftBehind)
}

/// With the mistake, options of a session that nothing ends.
pub(super) fn unbounded(options: PgConnectOptions) -> PgConnectOptions {
    match leaves_sessions_behind() {
        true => {
            let bounds = ["statement_timeout", "lock_timeout", "client_connection_check_interval"];
            options.options(bounds.map(|name| (name, "0")))
        }
        false => options,
    }
}

/// Rows are written. With the mistake they are committed as well, and their checkpoint is left to a transaction of its own.
pub(super) async fn rows_written(transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
    if is_on(SeededBug::CheckpointOutsideTransaction) {
        sqlx::raw_sql("COMMIT; BEGIN").execute(transaction).await?;
    }
    reached_by_task(Point::RowsWritten).await;
    Ok(())
}
