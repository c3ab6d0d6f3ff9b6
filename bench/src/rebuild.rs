//! How fast is a read model folded, rebuilt and verified from the embedded log, into SQLite and into PostgreSQL?

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use annals_dev::postgres::Server;
use annals_engine::generations::Generations;
use annals_engine::log::EventLog;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::{Fold, FoldOptions, Target};
use annals_engine::rebuild::rebuild;
use annals_engine::sink::Generation;
use annals_engine::verify::{VerifyOutcome, verify};
use annals_schemas::contexts::PORTFOLIO;
use annals_stores::sinks::{PostgresStore, SqliteStore};
use anyhow::bail;
use tokio::runtime::Runtime;

use crate::history::{definition, fill, model};
use crate::report::{Goal, Row};
use crate::rounds::{Turn, alternate, repeat};
use crate::upserts::{postgres_upserts, sqlite_upserts};
use crate::{Plan, limits};

const POSTGRES_FLOOR: &str =
    "a loop that upserts 1,000 events per transaction with UNNEST, all events of a kind in one statement";
const FLOOR: &str = "a loop that upserts 1,000 events per transaction, all events of a kind in one statement";

/// A made log on SQLite.
struct Made {
    runtime: Runtime,
    log: Arc<dyn EventLog>,
    closing: Arc<SqliteLog>,
    /// What is in it, in words.
    size: String,
}

impl Made {
    fn fill(plan: &Plan, directory: &Path) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let (log, closing, bytes) = runtime.block_on(async {
            let options = SqliteOptions { partitions: Some(limits::PARTITIONS), ..SqliteOptions::default() };
            let closing = SqliteLog::open(&directory.join("log.db"), &[PORTFOLIO], options).await?;
            let log: Arc<dyn EventLog> = Arc::clone(&closing) as _;
            let bytes = fill(&log, plan.events, plan.seed).await?;
            anyhow::Ok((log, closing, bytes))
        })?;
        let (events, per_row) = (plan.events, limits::EVENTS_PER_ROW);
        let size = format!("{events} events of {} bytes, {per_row} per row", bytes / events);
        Ok(Self { runtime, log, closing, size })
    }

    fn close(self) {
        self.runtime.block_on(self.closing.close());
    }
}

/// Into PostgreSQL.
pub(crate) fn measure_postgres(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let server = Server::start()?;
    let database = server.fresh_database()?;
    let directory = plan.scratch()?;
    let made = Made::fill(plan, directory.path())?;
    let Made { runtime, log, .. } = &made;
    let store = runtime.block_on(PostgresStore::open(&database.url, vec![definition()], log.id()))?;
    let turns = alternate(
        plan.rounds.min(limits::REBUILD_ROUNDS_MAX),
        |_| Ok(runtime.block_on(rebuild_once(log, &store))?.0),
        |_| runtime.block_on(postgres_upserts(log, &database.url)),
    )?;
    let row = Row::new("rebuild-postgres", "events", POSTGRES_FLOOR, &turns).note(made.size.clone());
    made.close();
    Ok(vec![row.goal(Goal::Rate(500_000.0)).goal(Goal::Ratio(10.0))])
}

/// Into SQLite.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let directory = plan.scratch()?;
    let made = Made::fill(plan, directory.path())?;
    let Made { runtime, log, .. } = &made;
    let store = runtime.block_on(SqliteStore::open(directory.path(), vec![definition()], log.id()))?;

    let whole = repeat(plan.rounds, |_| runtime.block_on(fold(log, FoldOptions::default())))?;
    let tight = FoldOptions { memory_bytes_max: 64 << 20, ..FoldOptions::default() };
    let spilled = repeat(plan.rounds, |_| runtime.block_on(fold(log, tight)))?;
    let last = RefCell::new(None);
    let rebuilt = alternate(
        plan.rounds.min(limits::REBUILD_ROUNDS_MAX),
        |_| {
            let (turn, generation) = runtime.block_on(rebuild_once(log, &store))?;
            last.replace(Some(generation));
            Ok(turn)
        },
        |round| runtime.block_on(sqlite_upserts(log, &directory.path().join(format!("upserts-{round}.db")))),
    )?;
    let Some(generation) = last.into_inner() else { bail!("nothing was rebuilt") };
    let verified = repeat(plan.rounds, |_| runtime.block_on(verify_once(log, &store, &generation)))?;
    let size = made.size.clone();
    made.close();
    Ok(vec![
        Row::new("fold-sqlite", "events", "", &whole).note(size),
        Row::new("fold-sqlite/64MiB", "events", "", &spilled),
        Row::new("rebuild-sqlite", "events", FLOOR, &rebuilt).goal(Goal::Rate(500_000.0)),
        Row::new("verify-sqlite", "events", "", &verified),
    ])
}

/// Everything into memory.
pub(crate) async fn fold(log: &Arc<dyn EventLog>, options: FoldOptions) -> anyhow::Result<Turn> {
    let began = Instant::now();
    let mut fold = Fold::new(Arc::clone(log), model(), Target::Ends, options, Control::default()).await?;
    while fold.next().await?.is_some() {}
    Ok(Turn::of(fold.finish().events, began.elapsed()))
}

/// A generation beside those that are there.
pub(crate) async fn rebuild_once(log: &Arc<dyn EventLog>, store: &Generations) -> anyhow::Result<(Turn, Generation)> {
    let began = Instant::now();
    let (options, control) = (FoldOptions::default(), Control::default());
    let rebuilt = rebuild(Arc::clone(log), store, model(), "bench", options, &control).await?;
    Ok((Turn::of(rebuilt.events, began.elapsed()), rebuilt.generation))
}

async fn verify_once(log: &Arc<dyn EventLog>, store: &Generations, generation: &Generation) -> anyhow::Result<Turn> {
    let began = Instant::now();
    let (options, control) = (FoldOptions::default(), Control::default());
    match verify(Arc::clone(log), store, model(), generation, options, &control).await? {
        VerifyOutcome::Equal { events, .. } => Ok(Turn::of(events, began.elapsed())),
        other => bail!("rebuilt rows diverge: {other:?}"),
    }
}
