//! Making another generation live: one transaction over the registry and the live generation, so that readers never go
//! back.

use std::time::Duration;

use annals_engine::limits::PROMOTE_WAIT_MS_MAX;
use annals_engine::sink::{
    BehindComponent, Checkpoints, Generation, GenerationId, GenerationState, PromoteError, Promoted, StoreError,
};
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, Transaction};
use tokio::time::Instant;

use super::registry::{self, unavailable};
use super::writer::Target;
use super::{Inner, MAIN, Schema, checkpoints, connect};
use crate::sinks::life::{allow, live_of, now};

/// The live generation, attached to the registry's connection.
const LIVE: Schema = Schema("live");
/// Pause between two looks at how far the target has come.
const LOOK_AGAIN_MS: u64 = 2;

impl Inner {
    pub(super) async fn promote(&self, read_model: &str, id: GenerationId) -> Result<Promoted, PromoteError> {
        // A connection of its own: it attaches the live generation, and others must not see that.
        let mut connection = connect::registry(&self.files.registry()).connect().await.map_err(unavailable)?;
        let promoted = self.promote_on(&mut connection, read_model, id).await?;
        connection.close().await.map_err(unavailable)?;
        Ok(promoted)
    }

    async fn promote_on(
        &self,
        connection: &mut SqliteConnection,
        read_model: &str,
        id: GenerationId,
    ) -> Result<Promoted, PromoteError> {
        // Attached before the transaction: SQLite allows no other order. It is looked at again inside.
        let before = live_of(registry::list(connection, read_model).await?);
        self.attach(connection, before.as_ref()).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
        let generations = registry::list(&mut transaction, read_model).await?;
        let target = generations.iter().find(|generation| generation.id == id).cloned();
        let mut target =
            target.ok_or_else(|| StoreError::NoSuchGeneration { read_model: read_model.to_owned(), id })?;
        if target.state == GenerationState::Live {
            return Err(PromoteError::AlreadyLive { read_model: read_model.to_owned(), target: id });
        }
        allow(&target, &[GenerationState::Ready, GenerationState::Retired], "a ready or retired one")?;
        let opened = self.target(&target)?;
        self.check(&opened).await?;
        let mut live = live_of(generations);
        if live.as_ref().map(|live| live.id) != before.map(|before| before.id) {
            return Err(unavailable("another promotion came between; try again").into());
        }
        if let Some(live) = &live {
            self.compare(&mut transaction, live, &opened).await?;
        }
        if let Some(live) = &mut live {
            live.state = GenerationState::Retired;
            live.retired_at = Some(now());
            // Before the other: there is never more than one live generation, the registry insists.
            registry::put(&mut transaction, live).await?;
        }
        target.state = GenerationState::Live;
        target.retired_at = None;
        registry::put(&mut transaction, &target).await?;
        transaction.commit().await.map_err(unavailable)?;
        Ok(Promoted { live: target, retired: live })
    }

    async fn attach(&self, connection: &mut SqliteConnection, live: Option<&Generation>) -> Result<(), PromoteError> {
        let Some(live) = live else { return Ok(()) };
        let path = self.files.generation(&live.read_model, live.id);
        if !path.exists() {
            // Attaching would create it.
            return Ok(());
        }
        sqlx::query("ATTACH DATABASE ? AS live")
            .bind(path.to_string_lossy().as_ref())
            .execute(connection)
            .await
            .map(|_| ())
            .map_err(|error| unavailable(error).into())
    }

    /// Holds the live generation still and waits until the target has come as far.
    async fn compare(
        &self,
        transaction: &mut Transaction<'_, sqlx::Sqlite>,
        live: &Generation,
        target: &Target,
    ) -> Result<(), PromoteError> {
        if !self.files.generation(&live.read_model, live.id).exists() {
            // Nobody can have read from it: any generation is better.
            return Ok(());
        }
        // BEGIN IMMEDIATE took the write lock of the live file too, so its checkpoints cannot move now.
        let error = |error: sqlx::Error| StoreError::from(target.error("annals_checkpoints", &error));
        if checkpoints::log_id(transaction, LIVE).await.map_err(error)? != self.log_id {
            return Ok(());
        }
        let contexts = target.model.contexts();
        let needed = checkpoints::all(transaction, LIVE, &contexts).await.map_err(error)?;
        let deadline = Instant::now() + Duration::from_millis(PROMOTE_WAIT_MS_MAX);
        let mut reader = target.connect(&connect::reader(&target.path)).await.map_err(StoreError::from)?;
        loop {
            // Checkpoints never go back: what is reached at any moment is reached for good.
            let reached = checkpoints::all(&mut reader, MAIN, &contexts).await.map_err(error)?;
            let components = behind(&reached, &needed);
            if components.is_empty() {
                return reader.close().await.map_err(|cause| error(cause).into());
            }
            if Instant::now() >= deadline {
                let (read_model, live) = (live.read_model.clone(), live.id);
                return Err(PromoteError::Behind { read_model, target: target.generation.id, live, components });
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        }
    }
}

/// Among the contexts that the target reads; `needed` holds no others.
fn behind(reached: &Checkpoints, needed: &Checkpoints) -> Vec<BehindComponent> {
    reached.behind(needed, |_| true)
}
