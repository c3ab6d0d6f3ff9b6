//! A generation's life in registry and file: created, checked, finished, removed.

use std::fs::File;
use std::time::Duration;

use annals_engine::generations::life::{Change, Life, Refusal};
use annals_engine::owners::system_now;
use annals_engine::sink::{
    BuildLock, Checkpoints, CreateError, Generation, GenerationId, GenerationState, SinkError, StoreError,
};
use annals_model::ids::LogId;
use annals_model::projection::ReadModel;
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{Connection as _, Transaction};
use tokio::time::Instant;

use super::registry::{self, failed, unavailable};
use super::target::Target;
use super::{Inner, MAIN, checkpoints, connect, ddl};
use crate::limits;
use crate::sinks::ddl::indexes;

/// Pause between two tries to get a builder's lock.
const TRY_AGAIN_MS: u64 = 10;

impl Inner {
    /// Begins to change the registry, from these rows of a read model: nobody else does before the transaction ends.
    async fn change(&self, read_model: &str) -> Result<(Transaction<'static, Sqlite>, Life), StoreError> {
        let mut transaction = self.registry.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let life = registry::life(&mut transaction, read_model).await?;
        Ok((transaction, life))
    }

    /// Takes a step that changes rows of the registry alone.
    pub(super) async fn step(
        &self,
        read_model: &str,
        decide: impl FnOnce(&Life) -> Result<Change, Refusal>,
    ) -> Result<Generation, StoreError> {
        let (mut transaction, life) = self.change(read_model).await?;
        let change = decide(&life)?;
        registry::write(&mut transaction, &life, &change).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(change.generation().clone())
    }

    /// The live generation and whether it was created just now.
    pub(super) async fn ensure_live(&self, model: &ReadModel) -> Result<(Option<Generation>, bool), StoreError> {
        let (mut transaction, life) = self.change(model.name()).await?;
        let Some(change) = life.first_start(model.version(), system_now())? else {
            return Ok((life.live().cloned(), false));
        };
        // The file first: a row of the registry promises one. A file without a row is cleared by the next attempt.
        self.make_file(change.generation()).await?;
        registry::write(&mut transaction, &life, &change).await?;
        transaction.commit().await.map_err(failed)?;
        Ok((Some(change.generation().clone()), true))
    }

    pub(super) async fn create(&self, model: &ReadModel, reason: &str) -> Result<(Generation, BuildLock), CreateError> {
        let (mut transaction, life) = self.change(model.name()).await?;
        let change = life.begin(model.version(), reason, system_now()).map_err(StoreError::from)?;
        let generation = change.generation();
        let lock = self.lock(model.name(), generation.id).await?;
        let lock =
            lock.ok_or_else(|| CreateError::AlreadyRunning { read_model: model.name().to_owned(), id: generation.id })?;
        self.make_file(generation).await?;
        registry::write(&mut transaction, &life, &change).await?;
        transaction.commit().await.map_err(failed)?;
        Ok((generation.clone(), BuildLock::new(lock)))
    }

    /// The right to build a generation. Tried for a moment: who asks whether it is held holds it for as long as that.
    async fn lock(&self, read_model: &str, id: GenerationId) -> Result<Option<File>, StoreError> {
        let deadline = Instant::now() + Duration::from_millis(limits::BUILD_LOCK_WAIT_MS_MAX);
        loop {
            let lock = self.files.try_lock(read_model, id).map_err(unavailable)?;
            if lock.is_some() || Instant::now() >= deadline {
                return Ok(lock);
            }
            tokio::time::sleep(Duration::from_millis(TRY_AGAIN_MS)).await;
        }
    }

    /// An empty file with the tables of the generation's version.
    async fn make_file(&self, generation: &Generation) -> Result<(), StoreError> {
        self.files.clear(&generation.read_model, generation.id).map_err(unavailable)?;
        let target = self.target(generation)?;
        let options = match generation.state {
            GenerationState::Building => connect::builder(&target.path),
            _ => connect::writer(&target.path),
        };
        let mut connection = target.connect(&options.create_if_missing(true)).await?;
        let error = |error: sqlx::Error| target.error("", &error);
        let mut transaction = connection.begin().await.map_err(error)?;
        ddl::run(&mut transaction, ddl::OWN_TABLES.to_owned()).await.map_err(error)?;
        ddl::run(&mut transaction, ddl::tables(&target.model)).await.map_err(error)?;
        let id = generation.id.to_string();
        let version = generation.version.to_string();
        let log_id = self.log_id.to_string();
        let mut facts = vec![
            (checkpoints::fact::LOG_ID, log_id.as_str()),
            (checkpoints::fact::READ_MODEL, &generation.read_model),
            (checkpoints::fact::VERSION, &version),
            (checkpoints::fact::GENERATION, &id),
        ];
        if generation.state != GenerationState::Building {
            ddl::run(&mut transaction, indexes(&target.model)).await.map_err(error)?;
            ddl::put_statistics(&mut transaction).await.map_err(error)?;
            facts.push((checkpoints::fact::LOADED, "yes"));
        }
        for (key, value) in facts {
            checkpoints::put_fact(&mut transaction, key, value).await.map_err(error)?;
        }
        transaction.commit().await.map_err(error)?;
        check_shape(&mut connection, &target).await?;
        connection.close().await.map_err(error)?;
        Ok(())
    }

    /// Refuses a generation of another log, and tables that are not the definition's.
    pub(super) async fn check(&self, target: &Target) -> Result<(), StoreError> {
        let mut connection = target.connect(&connect::reader(&target.path)).await?;
        let found =
            checkpoints::log_id(&mut connection, MAIN).await.map_err(|error| target.error("annals_meta", &error))?;
        if found != self.log_id {
            return Err(other_log(target, found, self.log_id).into());
        }
        check_shape(&mut connection, target).await?;
        connection.close().await.map_err(|error| target.error("", &error))?;
        Ok(())
    }

    pub(super) async fn is_being_built(&self, generation: &Generation) -> Result<bool, StoreError> {
        self.files.is_locked(&generation.read_model, generation.id).map_err(unavailable)
    }

    /// Through a connection of its own: one that is open goes on with a file that is not there any more.
    pub(super) async fn probe(&self, generation: &Generation) -> Result<Checkpoints, StoreError> {
        let target = self.target(generation)?;
        let error = |error: sqlx::Error| StoreError::from(target.error("annals_checkpoints", &error));
        let mut connection = target.connect(&connect::reader(&target.path)).await?;
        let found = checkpoints::all(&mut connection, MAIN, &target.model.contexts()).await.map_err(error)?;
        if found.log_id() == self.log_id {
            check_shape(&mut connection, &target).await?;
        }
        connection.close().await.map_err(error)?;
        match found.log_id() == self.log_id {
            true => Ok(found),
            false => Err(other_log(&target, found.log_id(), self.log_id).into()),
        }
    }

    /// The files while nobody else changes the registry, and the row when they are gone: what cannot be removed stays
    /// known, and is removed another time.
    pub(super) async fn remove(&self, generation: &Generation) -> Result<(), StoreError> {
        let (mut transaction, life) = self.change(&generation.read_model).await?;
        let change = life.remove(generation)?;
        registry::write(&mut transaction, &life, &change).await?;
        let (files, read_model, id) = (self.files.clone(), generation.read_model.clone(), generation.id);
        let removing = tokio::task::spawn_blocking(move || files.remove(&read_model, id)).await;
        removing.map_err(unavailable)?.map_err(|error| {
            let cause = format!("its files cannot be removed: {error}");
            SinkError::Unavailable { generation: generation.to_string(), cause }
        })?;
        transaction.commit().await.map_err(failed)
    }
}

fn other_log(target: &Target, found: LogId, log: LogId) -> SinkError {
    SinkError::OtherLog { generation: target.label.clone(), found, log }
}

async fn check_shape(connection: &mut SqliteConnection, target: &Target) -> Result<(), SinkError> {
    let found = ddl::difference(connection, &target.model).await.map_err(|error| target.error("", &error))?;
    match found {
        None => Ok(()),
        Some(difference) => Err(SinkError::Shape {
            read_model: target.model.name().to_owned(),
            version: target.model.version(),
            difference,
        }),
    }
}
