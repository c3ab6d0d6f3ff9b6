//! Test kit: histories of events as the log would deliver them, and generations that hold their rows.
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;

use annals_engine::sink::Sink;
use annals_model::envelope::{ActorRef, Envelope, Extensions, Record, SchemaId};
use annals_model::event::Payload;
use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, LogId, OperationId, Partition, Scope, TenantId, WorkspaceId,
};
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, Offset, Ordinal, RecordOffset, Sequence};
use annals_model::projection::{KeyRange, OwnedValue, ReadModel, RowLife, TableKind, Tables};
use annals_model::read_model::Definition;
use annals_model::time::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

use crate::queries::LiveGeneration;
use crate::sinks::{PostgresStore, SqliteStore, Store};

/// A small id, to tell things apart.
pub const fn id(number: u128) -> AggregateId {
    AggregateId(Uuid::from_u128(number))
}

/// A workspace of a tenant, by small numbers; workspace 0 = the tenant as a whole.
pub const fn scope(tenant: u128, workspace: u128) -> Scope {
    Scope { tenant: TenantId(Uuid::from_u128(tenant)), workspace: WorkspaceId(Uuid::from_u128(workspace)) }
}

/// When the first event happened; each later one a second after the one before.
pub const FIRST_AT: Timestamp = Timestamp(1_768_824_000_000_000);

/// Events in the order of the log.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<StoredEvent>,
}

#[derive(Clone, Debug)]
struct StoredEvent {
    schema: SchemaId,
    scope: Scope,
    aggregate: AggregateId,
    payload: Vec<u8>,
}

impl History {
    /// Adds an event about an aggregate, written under any revision.
    pub fn push<P: Payload>(&mut self, scope: Scope, aggregate: AggregateId, event: P) {
        let mut payload = Vec::new();
        event.encode(&mut payload);
        self.push_bytes(scope, aggregate, P::SCHEMA, payload);
    }

    /// Adds an event about an aggregate, written under a released schema.
    pub fn push_bytes(&mut self, scope: Scope, aggregate: AggregateId, schema: SchemaId, payload: Vec<u8>) {
        self.events.push(StoredEvent { schema, scope, aggregate, payload });
    }

    /// The first events alone.
    pub fn first(&self, events: usize) -> Self {
        Self { events: self.events[..events].to_vec() }
    }

    /// Number of events.
    pub fn event_count(&self) -> usize {
        self.events.len()
    }

    /// The schemas that its events were written under.
    pub fn schemas(&self) -> impl Iterator<Item = SchemaId> + '_ {
        self.events.iter().map(|event| event.schema)
    }

    /// Calls `each` with every record, as a log of the read model's contexts has it.
    pub fn records(&self, model: &ReadModel, mut each: impl FnMut(&Record<'_>)) {
        let mut sequences: BTreeMap<(Scope, &str, AggregateId), Sequence> = BTreeMap::new();
        for (number, event) in (0u64..).zip(&self.events) {
            let at = Timestamp(FIRST_AT.0 + number as i64 * 1_000_000);
            let request = ClientRequestId::new(&number.to_string()).unwrap();
            let operation = OperationId::derive(model.contexts()[0], event.scope, &request);
            let released = model.catalogue().get(event.schema).unwrap();
            let aggregate_type = released.event_type.split('.').next().unwrap();
            let sequence = sequences.entry((event.scope, aggregate_type, event.aggregate)).or_default();
            *sequence = sequence.next();
            let envelope = Envelope {
                event_id: operation.event(CommitIndex(0)),
                event_type: released.event_type,
                event_version: released.version,
                occurred_at: at,
                emitted_at: at,
                tenant_id: event.scope.tenant,
                workspace_id: event.scope.workspace,
                aggregate_type,
                aggregate_id: event.aggregate,
                sequence: *sequence,
                actor_id: ActorRef::Service("test"),
                correlation_id: None,
                causation_id: None,
                request: None,
                ordinal: Ordinal(number + 1),
                claim_epoch: ClaimEpoch(1),
                commit_index: CommitIndex(0),
                commit_size: 1,
                policy_decision: "builtin:test",
                reason: None,
                adr_id: None,
                extensions: Extensions::default(),
            };
            each(&Record { offset: RecordOffset(number), schema: event.schema, envelope, payload: &event.payload });
        }
    }

    /// Folds all events.
    pub fn tables(&self, model: &ReadModel) -> Tables {
        let mut tables = model.new_tables(KeyRange::ALL);
        self.records(model, |record| model.apply(record, &mut tables).unwrap());
        tables
    }

    /// The rows of one table, as text, by key: `t/w/id live name=… …`.
    pub fn rows(&self, model: &ReadModel, table: &str) -> Vec<String> {
        let tables = self.tables(model);
        let shape = model.tables().iter().find(|shape| shape.name == table).unwrap();
        let show = |key: annals_model::projection::RowKey, life: &str, values: &[OwnedValue]| {
            let columns: Vec<String> = shape
                .columns
                .iter()
                .zip(values)
                .map(|(column, value)| format!("{}={}", column.name, text(value)))
                .collect();
            let short = |id: Uuid| if id.as_u128() < 1 << 32 { id.as_u128().to_string() } else { id.to_string() };
            let key = format!("{}/{}/{}", short(key.tenant.0), short(key.workspace.0), short(key.id.0));
            format!("{key} {life}: {}", columns.join(" "))
        };
        match shape.kind {
            TableKind::Rows(index) => {
                let row = |key| {
                    let mut values = Vec::new();
                    let life = tables.values(index, &key, &mut values).unwrap();
                    let values: Vec<OwnedValue> = values.into_iter().map(|value| value.into_owned()).collect();
                    show(key, if life == RowLife::Live { "live" } else { "deleted" }, &values)
                };
                tables.sorted_keys(index).into_iter().map(row).collect()
            }
            TableKind::Rollup(index) => {
                let mut totals = model.new_rollup_totals();
                totals.add(&tables);
                let sums = |group: annals_model::projection::GroupRow| {
                    let measures = group.measures.into_iter().map(OwnedValue::Int);
                    let values: Vec<OwnedValue> = group.group.into_iter().chain(measures).collect();
                    show(group.key, "live", &values)
                };
                totals.rows(index).into_iter().map(sums).collect()
            }
        }
    }
}

fn text(value: &OwnedValue) -> String {
    match value {
        OwnedValue::Text(value) => format!("{value:?}"),
        OwnedValue::Uuid(value) if value.as_u128() < 1 << 32 => format!("#{}", value.as_u128()),
        OwnedValue::Uuid(value) => value.to_string(),
        OwnedValue::Timestamp(value) => value.to_string(),
        other => other.to_json().to_string(),
    }
}

/// Partition that all events of a test lie in.
pub fn partition(model: &ReadModel) -> ContextPartition {
    ContextPartition { context: model.contexts()[0], partition: Partition(0) }
}

/// What rows lie in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A file in a directory of their own.
    Sqlite,
    /// A database of their own.
    Postgres,
}

tokio::task_local! {
    /// Where a test has its rows; in SQLite unless it says otherwise.
    pub static IN: Place;
}

/// Live generations with the rows of a history, in a directory or a database of their own.
#[derive(Debug)]
pub struct Rows {
    _store: Store,
    /// The generation, for questions.
    pub live: LiveGeneration,
    /// Its writer.
    pub sink: Box<dyn Sink>,
    /// Where it has come.
    pub at: Checkpoint,
    model: std::sync::Arc<ReadModel>,
    _directory: Option<TempDir>,
}

/// The log that generations of tests stand for.
pub const LOG: LogId = LogId(Uuid::from_u128(0x109));

impl Rows {
    /// A live generation of this definition, with the rows of `history` committed as one batch.
    pub async fn of(definition: &Definition, history: &History) -> Self {
        let definitions = vec![definition.clone()];
        let place = IN.try_with(|place| *place).unwrap_or(Place::Sqlite);
        let directory = (place == Place::Sqlite).then(|| tempfile::tempdir().unwrap());
        let store = match &directory {
            Some(directory) => Store::from(SqliteStore::open(directory.path(), definitions, LOG).await.unwrap()),
            None => {
                let database = annals_dev::postgres::shared().unwrap().fresh_database().unwrap();
                Store::from(PostgresStore::open(&database.url, definitions, LOG).await.unwrap())
            }
        };
        let generation = store.ensure_live(&definition.model).await.unwrap().unwrap();
        let sink = store.open(&generation).await.unwrap();
        let live = LiveGeneration::of(&store, definition.model.name()).await.unwrap().unwrap();
        let (at, model) = (Checkpoint::default(), definition.model.clone());
        let mut rows = Self { _store: store, live, sink, at, model, _directory: directory };
        rows.commit(history).await;
        rows
    }

    /// Commits a history of new aggregates as one more batch.
    pub async fn commit(&mut self, history: &History) {
        let to = Checkpoint { offset: Offset(self.at.offset.0 + history.events.len() as u64), ..self.at };
        let tables = history.tables(&self.model);
        self.sink.commit(&tables, partition(&self.model), self.at, to).await.unwrap();
        self.at = to;
    }
}
