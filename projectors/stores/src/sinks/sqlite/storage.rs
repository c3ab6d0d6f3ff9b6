//! A generation's file: made, checked, held still, removed.

use std::sync::Arc;

use annals_engine::generations::registry::AnyTurn;
use annals_engine::generations::storage::{Still, Storage};
use annals_engine::log::BoxFuture;
use annals_engine::sink::{Checkpoints, Generation, GenerationState, Sink, SinkError, StoreError};
use annals_model::ids::{ContextId, LogId};
use annals_model::projection::ReadModel;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::connect::unavailable;
use super::files::Files;
use super::readers::Readers;
use super::statements::Statements;
use super::target::Target;
use super::writer::SqliteSink;
use super::{checkpoints, connect, ddl};
use crate::sinks::checkpoints::fact;
use crate::sinks::ddl::indexes;
use crate::sinks::shape::refuse;

/// The files of one data directory's generations.
#[derive(Debug)]
pub(super) struct SqliteStorage {
    pub(super) files: Files,
    readers: Arc<Readers>,
    log_id: LogId,
    prepared: Vec<(Arc<ReadModel>, Arc<Statements>)>,
}

impl SqliteStorage {
    pub(super) fn new(files: Files, readers: Arc<Readers>, log_id: LogId, models: &[Arc<ReadModel>]) -> Self {
        let prepare = |model: &Arc<ReadModel>| (model.clone(), Arc::new(Statements::new(model)));
        Self { files, readers, log_id, prepared: models.iter().map(prepare).collect() }
    }

    pub(super) fn target(&self, generation: &Generation) -> Result<Target, StoreError> {
        let (read_model, version) = (&generation.read_model, generation.version);
        let mut prepared = self.prepared.iter();
        let found = prepared.find(|(model, _)| model.name() == read_model && model.version() == version);
        let unknown = || StoreError::UnknownVersion { read_model: read_model.clone(), version };
        let (model, statements) = found.cloned().ok_or_else(unknown)?;
        let path = self.files.generation(read_model, generation.id);
        Ok(Target { label: generation.to_string(), path, model, statements, generation: generation.clone() })
    }

    pub(super) fn readers(&self, generation: &Generation) -> Result<SqlitePool, StoreError> {
        let target = self.target(generation)?;
        if !target.path.exists() {
            return Err(target.missing().into());
        }
        Ok(self.readers.pool(generation, &target.path))
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
            (fact::LOG_ID, log_id.as_str()),
            (fact::READ_MODEL, &generation.read_model),
            (fact::VERSION, &version),
            (fact::GENERATION, &id),
        ];
        if generation.state != GenerationState::Building {
            ddl::run(&mut transaction, indexes(&target.model)).await.map_err(error)?;
            ddl::put_statistics(&mut transaction).await.map_err(error)?;
            facts.push((fact::LOADED, "yes"));
        }
        for (key, value) in facts {
            checkpoints::put_fact(&mut transaction, key, value).await.map_err(error)?;
        }
        transaction.commit().await.map_err(error)?;
        check_shape(&mut connection, &target).await?;
        connection.close().await.map_err(error)?;
        Ok(())
    }

    /// How far a generation has come; refuses one of another log, and tables that are not the definition's. Through a
    /// connection of its own: one that is open goes on with a file that is not there any more.
    async fn check(&self, target: &Target) -> Result<Checkpoints, StoreError> {
        let error = |error: sqlx::Error| target.error("annals_checkpoints", &error);
        let mut connection = target.connect(&connect::reader(&target.path)).await?;
        let found = checkpoints::all(&mut connection, &target.model.contexts()).await.map_err(error)?;
        if found.log_id() != self.log_id {
            let (generation, found, log) = (target.label.clone(), found.log_id(), self.log_id);
            return Err(SinkError::OtherLog { generation, found, log }.into());
        }
        check_shape(&mut connection, target).await?;
        connection.close().await.map_err(error)?;
        Ok(found)
    }

    /// Who has begun to write is alone: checkpoints cannot move before the connection ends.
    async fn hold_file(&self, live: &Generation, contexts: &[ContextId]) -> Result<Option<Still>, StoreError> {
        let path = self.files.generation(&live.read_model, live.id);
        if !path.exists() {
            return Ok(None);
        }
        let holding = async {
            let mut connection = connect::holder(&path).connect().await?;
            connection.execute("BEGIN IMMEDIATE").await?;
            let shown = checkpoints::all(&mut connection, contexts).await?;
            Ok(Still::new(shown, connection))
        };
        match holding.await {
            Ok(still) => Ok(Some(still).filter(|still| still.shown.log_id() == self.log_id)),
            Err(error) if connect::is_damage(&error) => {
                tracing::warn!(generation = %live, %error, "live generation cannot be read, any other is better");
                Ok(None)
            }
            Err(error) => Err(connect::sink_error(&live.to_string(), "annals_checkpoints", &error).into()),
        }
    }
}

/// The registry's transaction does not hold files: they are made before its commit, and removed before it.
impl Storage for SqliteStorage {
    fn make<'a>(&'a self, _turn: &'a mut AnyTurn, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.make_file(generation))
    }

    fn open<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Box<dyn Sink>, StoreError>> {
        Box::pin(async move {
            let target = self.target(generation)?;
            self.check(&target).await?;
            Ok(Box::new(SqliteSink::open(target).await?) as Box<dyn Sink>)
        })
    }

    fn checkpoints<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        Box::pin(async move {
            let target = self.target(generation)?;
            let error = |error: sqlx::Error| target.error("annals_checkpoints", &error);
            let mut connection = self.readers(generation)?.acquire().await.map_err(error)?;
            Ok(checkpoints::all(&mut connection, &target.model.contexts()).await.map_err(error)?)
        })
    }

    fn probe<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        Box::pin(async move { self.check(&self.target(generation)?).await })
    }

    fn show<'a>(&'a self, _turn: &'a mut AnyTurn, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        // Others read files by their numbers: nothing shows the live one.
        Box::pin(async move { self.check(&self.target(generation)?).await.map(drop) })
    }

    fn hold<'a>(
        &'a self,
        _turn: &'a mut AnyTurn,
        live: &'a Generation,
        contexts: &'a [ContextId],
    ) -> BoxFuture<'a, Result<Option<Still>, StoreError>> {
        Box::pin(self.hold_file(live, contexts))
    }

    fn remove<'a>(
        &'a self,
        _turn: &'a mut AnyTurn,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (files, read_model, id) = (self.files.clone(), generation.read_model.clone(), generation.id);
            let removing = tokio::task::spawn_blocking(move || files.remove(&read_model, id)).await;
            removing.map_err(unavailable)?.map_err(|error| {
                let cause = format!("its files cannot be removed: {error}");
                SinkError::Unavailable { generation: generation.to_string(), cause }.into()
            })
        })
    }
}

async fn check_shape(connection: &mut SqliteConnection, target: &Target) -> Result<(), SinkError> {
    let found = ddl::difference(connection, &target.model).await.map_err(|error| target.error("", &error))?;
    refuse(&target.model, found)
}
