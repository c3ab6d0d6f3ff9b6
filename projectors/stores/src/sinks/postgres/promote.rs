//! Making another generation live: one transaction over the registry, the stable views and the live generation, so that
//! readers never go back.

use std::time::Duration;

use annals_engine::generations::life::Promotion;
use annals_engine::limits::PROMOTE_WAIT_MS_MAX;
use annals_engine::owners::system_now;
use annals_engine::sink::{Generation, GenerationId, PromoteError, Promoted, SinkError, StoreError};
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::access::{put_views, run};
use super::answer::{sqlstate, told, within};
use super::generations::commit;
use super::registry::{self, unavailable};
use super::target::Target;
use super::{Inner, checkpoints, ddl};
use crate::limits;
use crate::sinks::shape::quoted;

/// Pause between two looks at how far the target has come.
const LOOK_AGAIN_MS: u64 = 2;

impl Inner {
    pub(super) async fn promote(&self, read_model: &str, id: GenerationId) -> Result<Promoted, PromoteError> {
        let mut transaction = registry::change(&self.registry).await?;
        let life = registry::life(&mut transaction, read_model).await?;
        let promotion = life.promotion(id).map_err(|refusal| PromoteError::refused(read_model, refusal))?;
        let opened = self.target(promotion.target())?;
        self.check(&mut transaction, &opened).await?;
        // The views before the live generation is held still: a long query on one of them keeps us, not the writer.
        let views = put_views(&mut transaction, read_model, &opened.schema, opened.model.tables());
        within(limits::STORE_ANSWER_MS_MAX, views).await.map_err(|error| view_failure(read_model, error))?;
        if let Some(live) = promotion.live() {
            self.compare(&mut transaction, &promotion, live, &opened).await?;
        }
        let (promoted, changes) = promotion.make(system_now());
        for change in &changes {
            registry::write(&mut transaction, &life, change).await?;
        }
        commit(transaction).await?;
        Ok(promoted)
    }

    /// Refuses a generation of another log, and tables that are not the definition's.
    async fn check(&self, connection: &mut PgConnection, target: &Target) -> Result<(), StoreError> {
        let found = checkpoints::log_id(connection, &target.schema)
            .await
            .map_err(|error| target.error("annals_meta", &error))?;
        if found != self.log_id {
            let generation = target.label.clone();
            return Err(SinkError::OtherLog { generation, found, log: self.log_id }.into());
        }
        Ok(ddl::check(connection, target, ddl::Stage::Loaded).await?)
    }

    /// Holds the live generation still and waits until the target has come as far.
    async fn compare(
        &self,
        connection: &mut PgConnection,
        promotion: &Promotion,
        live: &Generation,
        target: &Target,
    ) -> Result<(), PromoteError> {
        let error = |error: sqlx::Error| StoreError::from(target.error("annals_checkpoints", &error));
        let schema = super::schema(&live.read_model, live.id);
        // Both, and the fact in one of them: an error would end the transaction.
        let is_there = sqlx::query_scalar(
            "SELECT count(*) = 2 FROM pg_tables
             WHERE schemaname = $1 AND tablename IN ('annals_checkpoints', 'annals_meta')",
        )
        .bind(&schema)
        .fetch_one(&mut *connection);
        if !within(limits::STORE_ANSWER_MS_MAX, is_there).await.map_err(error)? {
            // Nobody can have read from it: any generation is better.
            tracing::warn!(generation = %live, "live generation cannot be read, any other is better");
            return Ok(());
        }
        // Writers of the live generation wait before they change its checkpoints; readers do not.
        let hold = format!("LOCK TABLE {}.annals_checkpoints IN SHARE ROW EXCLUSIVE MODE", quoted(&schema));
        within(limits::STORE_ANSWER_MS_MAX, run(connection, hold)).await.map_err(error)?;
        match checkpoints::log_id(connection, &schema).await {
            Ok(log) if log == self.log_id => {}
            // Of another log, or it does not say of which.
            Ok(_) | Err(sqlx::Error::Decode(_)) => return Ok(()),
            Err(cause) => return Err(error(cause).into()),
        }
        let contexts = target.model.contexts();
        let needed = checkpoints::all(connection, &schema, &contexts).await.map_err(error)?;
        let deadline = Instant::now() + Duration::from_millis(PROMOTE_WAIT_MS_MAX);
        loop {
            // Checkpoints never go back: what is reached at any moment is reached for good.
            let looking = checkpoints::all(connection, &target.schema, &contexts);
            let reached = within(limits::STORE_ANSWER_MS_MAX, looking).await.map_err(error)?;
            match promotion.reaches(&reached, &needed, &contexts) {
                Ok(()) => return Ok(()),
                Err(behind) if Instant::now() >= deadline => {
                    return Err(PromoteError::refused(&live.read_model, behind));
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        }
    }
}

/// What others built on a view with columns that go away keeps it.
fn view_failure(read_model: &str, error: sqlx::Error) -> StoreError {
    const DEPENDENT_OBJECTS: &str = "2BP01";
    if sqlstate(&error).as_deref() == Some(DEPENDENT_OBJECTS) {
        let told = told(&error);
        return StoreError::Unavailable(format!(
            "views of {read_model} change, but others depend on them: {told}; drop those, promote, and make them again"
        ));
    }
    unavailable(error)
}
