//! How fast does a live read model come back to the log's end, when its store was stopped while events came?

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_dev::postgres::Server;
use annals_engine::generations::Generations;
use annals_engine::log::EventLog;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::FoldOptions;
use annals_engine::rebuild::rebuild;
use annals_engine::runner::{self, RunnerHandle};
use annals_engine::sink::Generation;
use annals_model::position::PositionVector;
use annals_model::projection::ReadModel;
use annals_model::read_model::{Definition, newest};
use annals_schemas::contexts::PORTFOLIO;
use annals_stores::sinks::{PostgresStore, SqliteStore};
use anyhow::{Context as _, ensure};
use tokio::runtime::Runtime;

use crate::history::{Filler, backlog, one_per_row};
use crate::report::{Goal, Row};
use crate::rounds::{Turn, repeat};
use crate::{Plan, limits};

/// The rows.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in limits::CATCH_UP_ROWS.iter().copied().filter(|size| plan.rows.is_none_or(|wanted| wanted == *size)) {
        rows.push(measure_sqlite(plan, size)?);
        rows.push(measure_postgres(plan, size)?);
    }
    Ok(rows)
}

fn measure_sqlite(plan: &Plan, size: u64) -> anyhow::Result<Row> {
    let (directory, runtime) = (plan.scratch()?, Runtime::new()?);
    let definition = portfolio()?;
    let mut behind = runtime.block_on(async {
        let log = open_log(directory.path()).await?;
        let store = SqliteStore::open(directory.path(), vec![definition.clone()], log.id()).await?;
        Behind::new(log, store.handle(), definition.model, size, plan.seed).await
    })?;
    let turns = repeat(plan.rounds.min(limits::CATCH_UP_ROUNDS_MAX), |_| {
        runtime.block_on(async {
            let ends = behind.append().await?;
            let (began, mut runner) = (Instant::now(), behind.start().await?);
            let turn = behind.caught_up(&mut runner, &ends, began).await;
            runner.stop().await;
            turn
        })
    })?;
    let row = Row::new(format!("catch-up-sqlite/{size}"), "events", "", &turns);
    Ok(row.note(format!("{} events behind; the runner is started then", limits::CATCH_UP_EVENTS)))
}

fn measure_postgres(plan: &Plan, size: u64) -> anyhow::Result<Row> {
    let (directory, runtime, server) = (plan.scratch()?, Runtime::new()?, Server::start()?);
    let (definition, url) = (portfolio()?, server.fresh_database()?.url);
    let (mut behind, mut runner) = runtime.block_on(async {
        let log = open_log(directory.path()).await?;
        let store = PostgresStore::open(&url, vec![definition.clone()], log.id()).await?;
        let behind = Behind::new(log, store.handle(), definition.model, size, plan.seed).await?;
        let mut runner = behind.start().await?;
        let ends = runner::ends(&*behind.log, &behind.model).await?;
        behind.caught_up(&mut runner, &ends, Instant::now()).await?;
        anyhow::Ok((behind, runner))
    })?;
    let turns = repeat(plan.rounds.min(limits::CATCH_UP_ROUNDS_MAX), |_| {
        server.pause()?;
        let ends = runtime.block_on(behind.append());
        server.resume()?;
        let ends = ends?;
        runtime.block_on(behind.caught_up(&mut runner, &ends, Instant::now()))
    })?;
    runtime.block_on(runner.stop());
    let row = Row::new(format!("catch-up-postgres/{size}"), "events", "", &turns).goal(Goal::Rate(10_000.0));
    Ok(row.note(format!("{} events came while it was stopped", limits::CATCH_UP_EVENTS)))
}

/// The read model that the platform's applications are in.
fn portfolio() -> anyhow::Result<Definition> {
    let all = annals_platform::application().read_models;
    let found = newest(&all).find(|definition| definition.model.name() == "portfolio");
    Ok(found.context("it is one of the platform's")?.clone())
}

async fn open_log(directory: &Path) -> anyhow::Result<Arc<dyn EventLog>> {
    let options = SqliteOptions { partitions: Some(limits::PARTITIONS), ..SqliteOptions::default() };
    Ok(SqliteLog::open(&directory.join("log.db"), &[PORTFOLIO], options).await?)
}

/// A generation over a table of a size, and a log that goes on.
struct Behind {
    log: Arc<dyn EventLog>,
    store: Generations,
    model: Arc<ReadModel>,
    generation: Generation,
    filler: Filler,
    rows_per_partition: u64,
    /// Events of backlogs so far, per partition.
    appended: u64,
}

impl Behind {
    async fn new(
        log: Arc<dyn EventLog>,
        store: Generations,
        model: Arc<ReadModel>,
        rows: u64,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let rows_per_partition = rows / u64::from(limits::PARTITIONS);
        let mut filler = Filler::claim(&log, seed).await?;
        filler.append(rows_per_partition, one_per_row).await?;
        let (options, control) = (FoldOptions::default(), Control::default());
        let rebuilt = rebuild(Arc::clone(&log), &store, Arc::clone(&model), "bench", options, &control).await?;
        ensure!(rebuilt.rows >= rows, "{} rows of {rows}", rebuilt.rows);
        Ok(Self { log, store, model, generation: rebuilt.generation, filler, rows_per_partition, appended: 0 })
    }

    /// Appends a backlog; where the log ends then.
    async fn append(&mut self) -> anyhow::Result<PositionVector> {
        let (each, before, rows) =
            (limits::CATCH_UP_EVENTS / u64::from(limits::PARTITIONS), self.appended, self.rows_per_partition);
        self.filler.append(each, move |index| backlog(before + index, rows)).await?;
        self.appended += each;
        Ok(runner::ends(&*self.log, &self.model).await?)
    }

    async fn start(&self) -> anyhow::Result<RunnerHandle> {
        let sink = self.store.open(&self.generation).await?;
        Ok(runner::start(Arc::clone(&self.log), Arc::clone(&self.model), self.generation.clone(), sink))
    }

    /// Waits until it is current; one that does not get there in time is measured by how far it came.
    async fn caught_up(
        &self,
        runner: &mut RunnerHandle,
        ends: &PositionVector,
        began: Instant,
    ) -> anyhow::Result<Turn> {
        let limit = Duration::from_secs(limits::CURRENT_S_MAX);
        let waiting = runner.progress.wait_for(|progress| progress.positions.covers(ends, |_| true));
        let waited = tokio::time::timeout(limit, waiting).await.map(drop);
        let took = began.elapsed();
        let missing = match waited {
            Ok(()) => 0,
            Err(_) => self.missing(runner).await?,
        };
        Ok(Turn::of(limits::CATCH_UP_EVENTS.saturating_sub(missing), took))
    }

    async fn missing(&self, runner: &RunnerHandle) -> anyhow::Result<u64> {
        let checkpoints = runner.progress.borrow().checkpoints.clone();
        let mut missing = 0;
        for (at, checkpoint) in checkpoints.iter() {
            missing += annals_engine::lag::Lag::events(&*self.log, at, checkpoint).await?;
        }
        Ok(missing)
    }
}
