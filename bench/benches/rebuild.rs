//! How fast is a read model rebuilt from the embedded log?
//!
//! Events of about 200 bytes, four per row, in partitions of one context; `EVENTS=1000000 cargo bench -p annals-bench
//! --bench rebuild`. Goal on 2 cores: a million events per second.

use std::sync::Arc;
use std::time::Instant;

use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::{AppendBatch, AppendOutcome, EventLog, Owner};
use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::{Fold, FoldOptions, Target};
use annals_engine::rebuild::rebuild;
use annals_engine::verify::{VerifyOutcome, verify};
use annals_model::envelope::{ActorRef, Envelope, Extensions, Fingerprint, RequestRef, put_frame};
use annals_model::event::EventSet as _;
use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, CorrelationId, OperationId, Partition, Scope, TenantId, UserId,
    WorkspaceId,
};
use annals_model::position::{ContextPartition, Ordinal, Sequence};
use annals_model::projection::{Contributions, Fold as Handlers, Projection, ReadModel, Rollup, own};
use annals_model::time::Timestamp;
use annals_projectors::sinks::{ReadModelDefinition, SqliteStore};
use annals_schemas::CATALOGUE;
use annals_schemas::contexts::PORTFOLIO;
use annals_schemas::portfolio::application::{Criticality, Event, Registered, Retired, VersionReleased};

annals_model::row! {
    /// An application.
    pub struct ApplicationRow {
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
    pub struct ByRetirement {
        /// Retired.
        pub retired: bool,
    }
}

struct Applications;
impl Projection for Applications {
    const NAME: &'static str = "applications";
    type Row = ApplicationRow;
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

const EVENTS_PER_ROW: u64 = 4;
const EVENTS_PER_APPEND: u64 = 200;

/// The events of one partition, interleaved over as many rows as one append has events.
async fn fill(log: &SqliteLog, partition: u16, partitions: u16, events: u64) -> u64 {
    let at = ContextPartition { context: PORTFOLIO, partition: Partition(partition) };
    let scope = (1..)
        .map(|number| Scope {
            tenant: TenantId(uuid::Uuid::from_u128(number)),
            workspace: WorkspaceId(uuid::Uuid::from_u128(number)),
        })
        .find(|scope| scope.slot().partition(partitions) == at.partition)
        .expect("scopes without end");
    let owner = Owner { id: "bench".into(), address: String::new() };
    let mut writer = log.claim(at, owner).await.expect("a new log").writer;
    let claim_epoch = writer.claim_epoch();
    let (mut ordinal, mut bytes) = (0, 0);
    while ordinal < events {
        let mut batch = AppendBatch::default();
        for index in 0..EVENTS_PER_APPEND {
            let round = ordinal / (EVENTS_PER_APPEND * EVENTS_PER_ROW);
            let step = ordinal / EVENTS_PER_APPEND % EVENTS_PER_ROW;
            let row = u128::from(round * EVENTS_PER_APPEND + index);
            // Spread over the key space, as random ids are.
            let id = AggregateId(uuid::Uuid::from_u128(row.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)));
            let request = format!("bench/{ordinal}");
            let request_id = ClientRequestId::new(&request).expect("short and printable");
            let event: Event = match step {
                0 => Registered {
                    name: format!("application-{row}"),
                    project_id: None,
                    criticality: Criticality::Medium,
                    source: Some("registry+crates.io".into()),
                }
                .into(),
                3 => Retired { forced: false }.into(),
                _ => VersionReleased { number: format!("{step}.{index}.0") }.into(),
            };
            ordinal += 1;
            let envelope = Envelope {
                event_id: OperationId::derive(PORTFOLIO, scope, &request_id).event(CommitIndex(0)),
                event_type: event.event_type(),
                event_version: event.event_version(),
                occurred_at: Timestamp(1_768_824_000_000_000 + ordinal as i64),
                emitted_at: Timestamp(1_768_824_000_000_000 + ordinal as i64),
                tenant_id: scope.tenant,
                workspace_id: scope.workspace,
                aggregate_type: "application",
                aggregate_id: id,
                sequence: Sequence(step + 1),
                actor_id: ActorRef::User(UserId::default()),
                correlation_id: Some(CorrelationId::default()),
                causation_id: None,
                request: Some(RequestRef { client_request_id: &request, fingerprint: Fingerprint([5; 16]) }),
                ordinal: Ordinal(ordinal),
                claim_epoch,
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
        }
        bytes += batch.bytes_len() as u64;
        writer = match writer.append(batch).await {
            AppendOutcome::Durable { writer, .. } => writer,
            other => panic!("append: {other:?}"),
        };
    }
    bytes
}

const DDL: &str = "
CREATE TABLE applications (
    tenant_id uuid NOT NULL, workspace_id uuid NOT NULL, id uuid NOT NULL,
    name text NOT NULL, source text, release text, retired boolean NOT NULL, version bigint NOT NULL,
    deleted boolean NOT NULL, PRIMARY KEY (tenant_id, workspace_id, id)) /*table options*/;
CREATE TABLE application_counts (
    tenant_id uuid NOT NULL, workspace_id uuid NOT NULL, id uuid NOT NULL, retired boolean NOT NULL,
    applications bigint NOT NULL, PRIMARY KEY (tenant_id, workspace_id, id)) /*table options*/;
-- indexes
CREATE INDEX applications_by_name ON applications (tenant_id, workspace_id, name, id);
";

fn model() -> Arc<ReadModel> {
    Arc::new(ReadModel::new("bench", 1, &CATALOGUE).table::<Applications>().rollup::<Counts>())
}

fn rate(events: u64, seconds: f64) -> String {
    format!("{seconds:.2} s, {:.2} M events/s", events as f64 / seconds / 1e6)
}

async fn rebuild_and_verify(log: &Arc<SqliteLog>, store: &SqliteStore) {
    let log: Arc<dyn EventLog> = log.clone();
    let (options, control) = (FoldOptions::default(), Control::default());
    let started = Instant::now();
    let rebuilt = rebuild(log.clone(), store, model(), "bench", options, &control).await.expect("events that apply");
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "rebuild into SQLite: {} rows, {} (fold {:.2} s, load and index {:.2} s)",
        rebuilt.rows,
        rate(rebuilt.events, seconds),
        rebuilt.folding.as_secs_f64(),
        rebuilt.loading.as_secs_f64()
    );
    let started = Instant::now();
    let outcome = verify(log, store, model(), &rebuilt.generation, options, &control).await.expect("readable rows");
    let seconds = started.elapsed().as_secs_f64();
    let VerifyOutcome::Equal { rows, events, .. } = outcome else { panic!("rebuilt rows diverge: {outcome:?}") };
    println!("verify: {rows} rows, {}", rate(events, seconds));
}

async fn fold(log: &Arc<SqliteLog>, options: FoldOptions, label: &str) {
    let log: Arc<dyn EventLog> = log.clone();
    let started = Instant::now();
    let mut fold = Fold::new(log, model(), Target::Ends, options, Control::default()).await.expect("a readable log");
    while fold.next().await.expect("events that apply").is_some() {}
    let folded = fold.finish();
    let seconds = started.elapsed().as_secs_f64();
    println!("fold only, {label}: {} rows, {} passes, {}", folded.rows, folded.passes, rate(folded.events, seconds));
}

#[tokio::main]
async fn main() {
    let events: u64 = std::env::var("EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    for partitions in [1, 4] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = SqliteOptions { partitions: Some(partitions), ..SqliteOptions::default() };
        let log = SqliteLog::open(&directory.path().join("log.db"), &[PORTFOLIO], options).await.expect("a new log");
        let mut bytes = 0;
        for partition in 0..partitions {
            bytes += fill(&log, partition, partitions, events / u64::from(partitions)).await;
        }
        println!("{partitions} partitions, {events} events of {} bytes", bytes / events);
        for _ in 0..3 {
            fold(&log, FoldOptions::default(), "512 MiB").await;
        }
        let tight = FoldOptions { memory_bytes_max: 64 << 20, ..FoldOptions::default() };
        fold(&log, tight, "64 MiB").await;
        let definitions = vec![ReadModelDefinition { model: model(), ddl: DDL }];
        let store = SqliteStore::open(directory.path(), definitions, log.id()).await.expect("a new store");
        for _ in 0..3 {
            rebuild_and_verify(&log, &store).await;
        }
        log.close().await;
    }
}
