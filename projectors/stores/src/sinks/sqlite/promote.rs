//! Making another generation live: one transaction over the registry and the live generation, so that readers never go
//! back.

use std::path::Path;
use std::time::Duration;

use annals_engine::generations::life::Promotion;
use annals_engine::limits::PROMOTE_WAIT_MS_MAX;
use annals_engine::owners::system_now;
use annals_engine::sink::{Generation, GenerationId, PromoteError, Promoted, SinkError, StoreError};
use annals_model::ids::LogId;
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, Transaction};
use tokio::time::Instant;

use super::registry::{self, failed, unavailable};
use super::target::Target;
use super::{Inner, MAIN, Schema, checkpoints, connect};

/// The live generation, attached to the registry's connection.
const LIVE: Schema = Schema("live");
/// Pause between two looks at how far the target has come.
const LOOK_AGAIN_MS: u64 = 2;

/// What is known of the live generation's positions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Positions {
    /// They are attached, and must be reached.
    Attached,
    /// It has none that anybody could have been shown.
    None,
}

impl Inner {
    pub(super) async fn promote(&self, read_model: &str, id: GenerationId) -> Result<Promoted, PromoteError> {
        // A connection of its own: it attaches the live generation, and others must not see that.
        let mut connection = connect::registry(&self.files.registry()).connect().await.map_err(failed)?;
        let promoted = self.promote_on(&mut connection, read_model, id).await?;
        connection.close().await.map_err(failed)?;
        Ok(promoted)
    }

    async fn promote_on(
        &self,
        connection: &mut SqliteConnection,
        read_model: &str,
        id: GenerationId,
    ) -> Result<Promoted, PromoteError> {
        let refused = |refusal| PromoteError::refused(read_model, refusal);
        // Attached before the transaction: SQLite allows no other order. It is looked at again inside.
        let before = registry::life(connection, read_model).await?.live().cloned();
        let positions = self.attach(connection, before.as_ref()).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let life = registry::life(&mut transaction, read_model).await?;
        let promotion = life.promotion(id).map_err(refused)?;
        let opened = self.target(promotion.target())?;
        self.check(&opened).await?;
        if promotion.live().map(|live| live.id) != before.map(|before| before.id) {
            return Err(unavailable("another promotion came between; try again").into());
        }
        if positions == Positions::Attached {
            self.compare(&mut transaction, &promotion, &opened).await?;
        }
        let (promoted, changes) = promotion.make(system_now());
        for change in &changes {
            registry::write(&mut transaction, &life, change).await?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(promoted)
    }

    /// Makes the live generation's positions part of the connection, where it has any that can be read.
    async fn attach(
        &self,
        connection: &mut SqliteConnection,
        live: Option<&Generation>,
    ) -> Result<Positions, PromoteError> {
        let Some(live) = live else { return Ok(Positions::None) };
        let path = self.files.generation(&live.read_model, live.id);
        // Attaching would make a file that is missing, and say of a damaged one that the registry is.
        match self.positions_of(live, &path).await {
            Ok(Some(log)) if log == self.log_id => {}
            // Missing, damaged, or of another log: nobody can have read from it what this log tells.
            Ok(_) => return Ok(Positions::None),
            Err(error) => return Err(StoreError::from(error).into()),
        }
        let error = |error: sqlx::Error| StoreError::from(connect::sink_error(&live.to_string(), "", &error));
        let attaching =
            sqlx::query("ATTACH DATABASE ? AS live").bind(path.to_string_lossy().as_ref()).execute(connection);
        attaching.await.map(|_| Positions::Attached).map_err(|cause| error(cause).into())
    }

    /// The log that a generation's positions are of; nothing where they cannot be read, and never will be.
    async fn positions_of(&self, live: &Generation, path: &Path) -> Result<Option<LogId>, SinkError> {
        if !path.exists() {
            return Ok(None);
        }
        let reading = async {
            let mut connection = connect::reader(path).connect().await?;
            let contexts: Vec<_> = self.models.iter().flat_map(|model| model.contexts()).collect();
            let found = checkpoints::all(&mut connection, MAIN, &contexts).await?;
            connection.close().await?;
            Ok(found.log_id())
        };
        match reading.await {
            Ok(log) => Ok(Some(log)),
            Err(error) if connect::is_damage(&error) => {
                tracing::warn!(generation = %live, %error, "live generation cannot be read, any other is better");
                Ok(None)
            }
            Err(error) => Err(connect::sink_error(&live.to_string(), "annals_checkpoints", &error)),
        }
    }

    /// Holds the live generation still and waits until the target has come as far.
    async fn compare(
        &self,
        transaction: &mut Transaction<'_, sqlx::Sqlite>,
        promotion: &Promotion,
        target: &Target,
    ) -> Result<(), PromoteError> {
        // BEGIN IMMEDIATE took the write lock of the live file too, so its checkpoints cannot move now.
        let error = |error: sqlx::Error| StoreError::from(target.error("annals_checkpoints", &error));
        let contexts = target.model.contexts();
        let needed = checkpoints::all(transaction, LIVE, &contexts).await.map_err(error)?;
        let deadline = Instant::now() + Duration::from_millis(PROMOTE_WAIT_MS_MAX);
        let mut reader = target.connect(&connect::reader(&target.path)).await.map_err(StoreError::from)?;
        loop {
            // Checkpoints never go back: what is reached at any moment is reached for good.
            let reached = checkpoints::all(&mut reader, MAIN, &contexts).await.map_err(error)?;
            match promotion.reaches(&reached, &needed, &contexts) {
                Ok(()) => return reader.close().await.map_err(|cause| error(cause).into()),
                Err(behind) if Instant::now() >= deadline => {
                    return Err(PromoteError::refused(&promotion.target().read_model, behind));
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        }
    }
}
