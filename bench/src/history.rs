//! A made log: applications that are registered, release two versions and are retired, and the read model of them that is
//! folded and rebuilt. Events of about 230 bytes, four per row.

use std::sync::Arc;

use annals_engine::log::{AppendBatch, AppendOutcome, EventLog, LogWriter, Owner};
use annals_model::envelope::{ActorRef, Envelope, Extensions, Fingerprint, RequestRef, put_frame};
use annals_model::event::EventSet as _;
use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, CorrelationId, OperationId, Partition, Scope, UserId,
};
use annals_model::position::{ClaimEpoch, ContextPartition, Ordinal, Sequence};
use annals_model::projection::{Contributions, Fold as Handlers, Index, Projection, ReadModel, Rollup, own};
use annals_model::read_model::Definition;
use annals_model::time::Timestamp;
use annals_schemas::CATALOGUE;
use annals_schemas::contexts::PORTFOLIO;
use annals_schemas::portfolio::application::{Criticality, Event, Registered, Retired, VersionReleased};
use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

use crate::commands::{id, tenant, workspaces};
use crate::limits::{EVENTS_PER_APPEND, EVENTS_PER_ROW};

annals_model::row! {
    /// An application.
    pub(crate) struct ApplicationRow {
        /// Its name.
        pub name: String,
        /// Where it comes from.
        pub source: Option<String>,
        /// Its newest release.
        pub release: Option<String>,
        /// Retired.
        pub retired: bool,
        /// The aggregate's version.
        pub version: Sequence,
    }
}
annals_model::row! {
    /// Retired applications apart from the others.
    pub(crate) struct ByRetirement {
        /// Retired.
        pub retired: bool,
    }
}

struct Applications;
impl Projection for Applications {
    const NAME: &'static str = "applications";
    type Row = ApplicationRow;
    const INDEXES: &'static [Index] = &[Index::new("by_name", &["name"])];
    fn fold(on: &mut Handlers<ApplicationRow>) {
        on.on::<Registered>(own, |row, e| {
            row.insert(ApplicationRow {
                name: e.payload.name.clone(),
                source: e.payload.source.clone(),
                release: None,
                retired: false,
                version: e.sequence,
            })
        });
        on.on::<VersionReleased>(own, |row, e| {
            row.change(|application| {
                application.release = Some(e.payload.number.clone());
                application.version = e.sequence;
            })
        });
        on.on::<Retired>(own, |row, e| {
            row.change(|application| {
                application.retired = true;
                application.version = e.sequence;
            })
        });
    }
}

struct Counts;
impl Rollup for Counts {
    const NAME: &'static str = "application_counts";
    type Of = Applications;
    type Group = ByRetirement;
    const MEASURES: &'static [&'static str] = &["applications"];
    fn contribute(row: &ApplicationRow, out: &mut Contributions<ByRetirement>) {
        out.add(ByRetirement { retired: row.retired }, &[1]);
    }
}

/// The read model that is folded and rebuilt.
pub(crate) fn model() -> Arc<ReadModel> {
    Arc::new(ReadModel::new("bench", 1, &CATALOGUE).table::<Applications>().rollup::<Counts>())
}

/// The same, as a store takes it.
pub(crate) fn definition() -> Definition {
    Definition::new(model(), &[])
}

/// Fills the portfolio with so many events, spread over its partitions, and answers their bytes.
pub(crate) async fn fill(log: &Arc<dyn EventLog>, events: u64, seed: u64) -> anyhow::Result<u64> {
    let each = events / u64::from(log.partitions(PORTFOLIO));
    Filler::claim(log, seed).await?.append(each, four_per_row).await
}

/// One event as it is made: of which row of its partition, and the how manieth of it.
pub(crate) struct Step {
    row: u64,
    sequence: u64,
    event: Event,
}

/// Interleaved over as many rows as one append has events, four of each row.
fn four_per_row(ordinal: u64) -> Step {
    let index = ordinal % EVENTS_PER_APPEND;
    let round = ordinal / (EVENTS_PER_APPEND * EVENTS_PER_ROW);
    let step = ordinal / EVENTS_PER_APPEND % EVENTS_PER_ROW;
    let row = round * EVENTS_PER_APPEND + index;
    let event = match step {
        0 => registered(row),
        3 => Retired { forced: false }.into(),
        _ => released(step, index),
    };
    Step { row, sequence: step + 1, event }
}

/// Every event is a new row.
pub(crate) fn one_per_row(ordinal: u64) -> Step {
    Step { row: ordinal, sequence: 1, event: registered(ordinal) }
}

/// What comes behind [`one_per_row`] has made so many rows: every second event changes one of them, all over the table,
/// and every other one is a new row.
pub(crate) fn backlog(index: u64, rows: u64) -> Step {
    // A prime, so that all rows have their turn before the first has its second.
    const STRIDE: u64 = 2_654_435_761;
    let pair = index / 2;
    match index % 2 {
        0 => Step { row: pair * STRIDE % rows, sequence: 2 + pair / rows, event: released(pair / rows, pair) },
        _ => Step { row: rows + pair, sequence: 1, event: registered(rows + pair) },
    }
}

fn registered(row: u64) -> Event {
    Registered {
        name: format!("application-{row}"),
        project_id: None,
        criticality: Criticality::Medium,
        source: Some("registry+crates.io".into()),
    }
    .into()
}

fn released(major: u64, minor: u64) -> Event {
    VersionReleased { number: format!("{major}.{minor}.0") }.into()
}

/// Appends made events to all partitions of the portfolio, each its own workspace.
pub(crate) struct Filler(Vec<Partial>);

impl Filler {
    /// Takes the partitions of a new log.
    pub(crate) async fn claim(log: &Arc<dyn EventLog>, seed: u64) -> anyhow::Result<Self> {
        let mut partitions = Vec::new();
        for (number, workspace) in (0..).zip(workspaces(seed, log.partitions(PORTFOLIO))) {
            let at = ContextPartition { context: PORTFOLIO, partition: Partition(number) };
            let owner = Owner { id: "bench".into(), address: String::new() };
            let writer = log.claim(at, owner).await.context("a new log")?.writer;
            let scope = Scope { tenant: tenant(seed), workspace };
            let made = Made { scope, seed, first_row: u64::from(number) << 32, claim_epoch: writer.claim_epoch() };
            partitions.push(Partial { writer, made, ordinal: 0 });
        }
        Ok(Self(partitions))
    }

    /// So many more in each partition, all at the same time; their bytes.
    pub(crate) async fn append(
        &mut self,
        each: u64,
        of: impl Fn(u64) -> Step + Copy + Send + 'static,
    ) -> anyhow::Result<u64> {
        let mut filling = JoinSet::new();
        for partition in self.0.drain(..) {
            filling.spawn(partition.append(each, of));
        }
        let mut bytes = 0;
        while let Some(filled) = filling.join_next().await {
            let (partition, of_partition) = filled??;
            self.0.push(partition);
            bytes += of_partition;
        }
        Ok(bytes)
    }
}

/// One partition that is being filled.
struct Partial {
    writer: Box<dyn LogWriter>,
    made: Made,
    /// Events in it.
    ordinal: u64,
}

impl Partial {
    async fn append(mut self, each: u64, of: impl Fn(u64) -> Step) -> anyhow::Result<(Self, u64)> {
        let (mut index, mut bytes) = (0, 0);
        while index < each {
            let mut batch = AppendBatch::default();
            for _ in 0..EVENTS_PER_APPEND.min(each - index) {
                self.made.put(&mut batch, self.ordinal, of(index))?;
                (index, self.ordinal) = (index + 1, self.ordinal + 1);
            }
            bytes += batch.bytes_len() as u64;
            self.writer = match self.writer.append(batch).await {
                AppendOutcome::Durable { writer, .. } => writer,
                other => bail!("append: {other:?}"),
            };
        }
        Ok((self, bytes))
    }
}

/// How the events of one partition are made.
struct Made {
    scope: Scope,
    seed: u64,
    first_row: u64,
    claim_epoch: ClaimEpoch,
}

impl Made {
    /// The event behind `ordinal` others.
    fn put(&self, batch: &mut AppendBatch, ordinal: u64, step: Step) -> anyhow::Result<()> {
        let Step { row, sequence, event } = step;
        let request = format!("bench/{ordinal}");
        let request_id = ClientRequestId::new(&request)?;
        let time = Timestamp(1_768_824_000_000_000 + i64::try_from(ordinal)?);
        let envelope = Envelope {
            event_id: OperationId::derive(PORTFOLIO, self.scope, &request_id).event(CommitIndex(0)),
            event_type: event.event_type(),
            event_version: event.event_version(),
            occurred_at: time,
            emitted_at: time,
            tenant_id: self.scope.tenant,
            workspace_id: self.scope.workspace,
            aggregate_type: "application",
            aggregate_id: AggregateId(id(self.seed, self.first_row + row)),
            sequence: Sequence(sequence),
            actor_id: ActorRef::User(UserId::default()),
            correlation_id: Some(CorrelationId::default()),
            causation_id: None,
            request: Some(RequestRef { client_request_id: &request, fingerprint: Fingerprint([5; 16]) }),
            ordinal: Ordinal(ordinal + 1),
            claim_epoch: self.claim_epoch,
            commit_index: CommitIndex(0),
            commit_size: 1,
            policy_decision: "builtin:dev-token",
            reason: None,
            adr_id: None,
            extensions: Extensions::default(),
        };
        batch.push(|out| {
            put_frame(out, event.schema());
            envelope.encode(out);
            event.encode(out);
        });
        Ok(())
    }
}
