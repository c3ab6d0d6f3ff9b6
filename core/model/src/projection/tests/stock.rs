//! A read model over a small shop's stock: the events are written by hand, as `annals-codegen` would generate them.

use uuid::Uuid;

use crate::avro::{DecodeError, Reader, put_long, put_str};
use crate::envelope::{ActorRef, Envelope, Extensions, Record, SchemaId};
use crate::event::{Event, Payload, ReleasedSchema, SchemaCatalogue};
use crate::ids::{AggregateId, CommitIndex, ContextId, EventId, TenantId, UserId, WorkspaceId};
use crate::position::{ClaimEpoch, Ordinal, RecordOffset, Sequence};
use crate::projection::*;
use crate::time::Timestamp;

pub(super) const SHOP: ContextId = ContextId { number: 7, name: "shop" };

macro_rules! test_event {
    ($name:ident, $wire:literal, $schema:literal, { $($field:ident: $type:ty, $put:expr, $read:expr;)* }) => {
        #[derive(Clone, PartialEq, Debug, serde::Serialize)]
        pub(super) struct $name { $(pub(super) $field: $type),* }
        impl Payload for $name {
            const EVENT_TYPE: &'static str = $wire;
            const EVENT_VERSION: i32 = 2;
            const SCHEMA: SchemaId = SchemaId($schema);
            fn encode(&self, _out: &mut Vec<u8>) {
                $(($put)(_out, &self.$field);)*
            }
            fn read(_reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self { $($field: ($read)(_reader)?),* })
            }
        }
        impl Event for $name {
            const CONTEXT: ContextId = SHOP;
            const AGGREGATE_TYPE: &'static str = "item";
            const OLDEST_VERSION: i32 = 2;
            fn decode_any(_schema: SchemaId, payload: &[u8]) -> Result<Self, DecodeError> {
                Self::decode(payload)
            }
        }
    };
}

fn read_text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    reader.str().map(Into::into)
}
fn put_text(out: &mut Vec<u8>, text: &str) {
    put_str(out, text);
}
fn put_id(out: &mut Vec<u8>, id: &AggregateId) {
    out.extend_from_slice(id.as_bytes());
}
fn read_id(reader: &mut Reader<'_>) -> Result<AggregateId, DecodeError> {
    reader.fixed().map(|bytes| AggregateId::from_bytes(*bytes))
}
fn put_number(out: &mut Vec<u8>, number: &i64) {
    put_long(out, *number);
}

test_event!(Added, "item.added", 1, { name: String, put_text, read_text; shelf: String, put_text, read_text; });
test_event!(Priced, "item.priced", 2, { price: i64, put_number, |reader: &mut Reader<'_>| reader.long(); });
test_event!(Moved, "item.moved", 3, { shelf: String, put_text, read_text; });
test_event!(Removed, "item.removed", 4, {});
test_event!(Linked, "item.linked", 5, { to: AggregateId, put_id, read_id; });
test_event!(Ignored, "item.ignored", 6, {});

const fn schema(id: u32, event_type: &'static str, version: i32) -> ReleasedSchema {
    ReleasedSchema {
        id: SchemaId(id),
        event_type,
        version,
        revision: 0,
        writer_schema: "{}",
        payload_json: |_| Ok(serde_json::Value::Null),
        rewrite: |payload| Ok(payload.to_vec()),
    }
}
static SCHEMAS: [ReleasedSchema; 7] = [
    schema(1, "item.added", 2),
    schema(2, "item.priced", 2),
    schema(3, "item.moved", 2),
    schema(4, "item.removed", 2),
    schema(5, "item.linked", 2),
    schema(6, "item.ignored", 2),
    // Of a version that no handler's type reads any more.
    schema(7, "item.added", 1),
];
pub(super) static CATALOGUE: SchemaCatalogue = SchemaCatalogue::new(&SCHEMAS);

crate::row! {
    /// An item.
    pub(crate) struct ItemRow {
        /// Its name.
        pub(crate) name: String,
        /// Where it stands.
        pub(crate) shelf: String,
        /// What it costs.
        pub(crate) price: Option<i64>,
        /// The aggregate's version.
        pub(crate) version: Sequence,
    }
}
crate::row! {
    /// A link between two items, seen from both.
    pub(crate) struct LinkRow {
        /// Number of links.
        pub(crate) links: i64,
    }
}
crate::row! {
    /// A shelf.
    pub(crate) struct Shelf {
        /// Its name.
        pub(crate) shelf: String,
    }
}

pub(super) struct Items;
impl Projection for Items {
    const NAME: &'static str = "items";
    type Row = ItemRow;
    fn fold(on: &mut Fold<ItemRow>) {
        on.on::<Added>(own, |row, e| {
            let payload = &e.payload;
            let (name, shelf) = (payload.name.clone(), payload.shelf.clone());
            row.insert(ItemRow { name, shelf, price: None, version: e.sequence })
        });
        on.on::<Priced>(own, |row, e| {
            row.change(|item| {
                item.price = Some(e.payload.price);
                item.version = e.sequence;
            })
        });
        on.on::<Moved>(own, |row, e| row.change(|item| item.shelf.clone_from(&e.payload.shelf)));
        on.on::<Removed>(own, |row, _| row.delete());
    }
}

pub(super) struct Links;
impl Projection for Links {
    const NAME: &'static str = "links";
    type Row = LinkRow;
    fn fold(on: &mut Fold<LinkRow>) {
        on.on::<Linked>(
            |e, keys| {
                keys.add(e.aggregate_id);
                keys.add(e.payload.to);
            },
            |row, _| match row.get() {
                Some(_) => row.change(|link| link.links += 1),
                None => row.insert(LinkRow { links: 1 }),
            },
        );
    }
}

pub(super) struct ShelfTotals;
impl Rollup for ShelfTotals {
    const NAME: &'static str = "shelf_totals";
    type Of = Items;
    type Group = Shelf;
    const MEASURES: &'static [&'static str] = &["items", "value"];
    fn contribute(row: &ItemRow, out: &mut Contributions<Shelf>) {
        out.add(Shelf { shelf: row.shelf.clone() }, &[1, row.price.unwrap_or_default()]);
    }
}

pub(super) fn model() -> ReadModel {
    ReadModel::new("stock", 3, &CATALOGUE).table::<Items>().table::<Links>().rollup::<ShelfTotals>()
}

pub(super) const TENANT: TenantId = TenantId(Uuid::from_u128(1));
pub(super) const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(2));

pub(super) fn id(number: u128) -> AggregateId {
    AggregateId(Uuid::from_u128(number))
}
pub(super) fn key(number: u128) -> RowKey {
    RowKey { tenant: TENANT, workspace: WORKSPACE, id: id(number).into() }
}

pub(super) fn envelope(event_type: &'static str, aggregate: AggregateId, sequence: u64) -> Envelope<'static> {
    Envelope {
        event_id: EventId(Uuid::from_u128(9)),
        event_type,
        event_version: 2,
        occurred_at: Timestamp(1),
        emitted_at: Timestamp(1),
        tenant_id: TENANT,
        workspace_id: WORKSPACE,
        aggregate_type: "item",
        aggregate_id: aggregate,
        sequence: Sequence(sequence),
        actor_id: ActorRef::User(UserId::default()),
        correlation_id: None,
        causation_id: None,
        request: None,
        ordinal: Ordinal(1),
        claim_epoch: ClaimEpoch(1),
        commit_index: CommitIndex(0),
        commit_size: 1,
        policy_decision: "",
        reason: None,
        adr_id: None,
        extensions: Extensions::default(),
    }
}

pub(super) fn apply_bytes(
    tables: &mut Tables,
    schema: SchemaId,
    event_type: &'static str,
    aggregate: u128,
    payload: &[u8],
) -> Result<(), Box<ApplyFailure>> {
    let record = Record { offset: RecordOffset(40), schema, envelope: envelope(event_type, id(aggregate), 3), payload };
    model().apply(&record, tables)
}

pub(super) fn apply<E: Event>(tables: &mut Tables, aggregate: u128, event: E) -> Result<(), Box<ApplyFailure>> {
    let mut payload = Vec::new();
    event.encode(&mut payload);
    apply_bytes(tables, E::SCHEMA, E::EVENT_TYPE, aggregate, &payload)
}

pub(super) fn added(shelf: &str) -> Added {
    Added { name: "nail".into(), shelf: shelf.into() }
}

pub(super) fn rows(tables: &Tables, table: usize) -> Vec<(RowKey, RowLife, Vec<OwnedValue>)> {
    let keys = tables.sorted_keys(table).into_iter();
    keys.map(|key| {
        let mut values = Vec::new();
        let life = tables.values(table, &key, &mut values).expect("a key that it named");
        (key, life, values.into_iter().map(Value::into_owned).collect())
    })
    .collect()
}
