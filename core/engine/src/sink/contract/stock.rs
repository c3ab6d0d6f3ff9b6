//! The read model that sinks are tested with: a shop's stock, in two versions that may stand side by side.

use std::sync::Arc;

use annals_model::avro::{DecodeError, Reader, put_long, put_str};
use annals_model::envelope::SchemaId;
use annals_model::event::{Event, Payload, ReleasedSchema, SchemaCatalogue};
use annals_model::ids::{AggregateId, ContextId, UserId};
use annals_model::position::Sequence;
use annals_model::projection::{
    Contributions, Float, Fold, Index, Json, KeyRange, Projection, ReadModel, Rollup, Tables, Value, own,
};
use annals_model::time::Timestamp;
use uuid::Uuid;

/// The context of the shop.
pub const SHOP: ContextId = ContextId { number: 203, name: "shop" };
/// Name of the read model.
pub const STOCK: &str = "stock";

macro_rules! event {
    ($(#[$doc:meta])* $name:ident, $wire:literal, $schema:literal,
     { $($(#[$field_doc:meta])* $field:ident: $type:ty, $put:expr, $read:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, serde::Serialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
        impl Payload for $name {
            const EVENT_TYPE: &'static str = $wire;
            const EVENT_VERSION: i32 = 1;
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
            const OLDEST_VERSION: i32 = 1;
            fn decode_any(_schema: SchemaId, payload: &[u8]) -> Result<Self, DecodeError> {
                Self::decode(payload)
            }
        }
    };
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_str(out, text);
}
fn read_text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    reader.str().map(Into::into)
}
fn put_number(out: &mut Vec<u8>, number: &i64) {
    put_long(out, *number);
}
fn read_number(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    reader.long()
}

event!(
    /// An item came in.
    Added, "item.added", 11, {
        /// Its name.
        name: String, put_text, read_text;
        /// Where it stands.
        shelf: String, put_text, read_text;
    }
);
event!(
    /// An item got a price.
    Priced, "item.priced", 12, {
        /// The price.
        price: i64, put_number, read_number;
    }
);
event!(
    /// An item was put elsewhere.
    Moved, "item.moved", 13, {
        /// Where it stands.
        shelf: String, put_text, read_text;
    }
);
event!(
    /// An item is gone.
    Removed, "item.removed", 14, {}
);
event!(
    /// Somebody counted; no table asks.
    Counted, "item.counted", 15, {}
);

static SCHEMAS: [ReleasedSchema; 5] = [
    ReleasedSchema::of::<Added>(0, "{}"),
    ReleasedSchema::of::<Priced>(0, "{}"),
    ReleasedSchema::of::<Moved>(0, "{}"),
    ReleasedSchema::of::<Removed>(0, "{}"),
    ReleasedSchema::of::<Counted>(0, "{}"),
];
/// Every schema of the shop.
pub static CATALOGUE: SchemaCatalogue = SchemaCatalogue::new(&SCHEMAS);

annals_model::row! {
    /// An item: a column of every type.
    pub struct ItemRow {
        /// Its name.
        pub name: String,
        /// Where it stands.
        pub shelf: String,
        /// What it costs.
        pub price: Option<i64>,
        /// Breaks easily.
        pub fragile: bool,
        /// Who looks after it.
        pub keeper: UserId,
        /// When it came in.
        pub added_at: Timestamp,
        /// What it weighs, once somebody moved it.
        pub weight: Option<Float>,
        /// What is written on it.
        pub label: Json,
        /// The aggregate's version.
        pub version: Sequence,
    }
}
annals_model::row! {
    /// How often an item stood on a shelf; its key is made of both.
    pub struct VisitRow {
        /// The item.
        pub item: AggregateId,
        /// The shelf.
        pub shelf: String,
        /// How often.
        pub times: i64,
    }
}
annals_model::row! {
    /// A shelf.
    pub struct ShelfGroup {
        /// Its name.
        pub shelf: String,
    }
}
annals_model::row! {
    /// An item in version 2.
    pub struct ItemRowV2 {
        /// Its name.
        pub name: String,
        /// How often it was put elsewhere.
        pub moves: i64,
    }
}

#[derive(Debug)]
struct Items;
impl Projection for Items {
    const NAME: &'static str = "items";
    type Row = ItemRow;
    const INDEXES: &'static [Index] = &[Index::new("by_name", &["name"])];
    fn fold(on: &mut Fold<ItemRow>) {
        on.on::<Added>(own, |row, e| {
            row.insert(ItemRow {
                name: e.payload.name.clone(),
                shelf: e.payload.shelf.clone(),
                price: None,
                fragile: e.payload.name.len() % 2 == 0,
                keeper: UserId(Uuid::from_u128(e.aggregate_id.0.as_u128() ^ 1)),
                added_at: e.occurred_at,
                weight: None,
                label: label(&e.payload.name, &e.payload.shelf),
                version: e.sequence,
            })
        });
        on.on::<Priced>(own, |row, e| {
            row.change(|item| {
                item.price = Some(e.payload.price);
                item.version = e.sequence;
            })
        });
        on.on::<Moved>(own, |row, e| {
            row.change(|item| {
                item.shelf.clone_from(&e.payload.shelf);
                // A fraction that no number of bits has exactly, a whole number, and a zero with a sign.
                item.weight = Float::new([0.1, 2.0, -0.0][e.payload.shelf.len() % 3]).ok();
                item.label = label(&item.name, &item.shelf);
                item.version = e.sequence;
            })
        });
        on.on::<Removed>(own, |row, _| row.delete());
    }
}

/// A document, a text, or a number: whatever is JSON is stored as it is.
fn label(name: &str, shelf: &str) -> Json {
    Json::new(&match name.len() % 3 {
        0 => serde_json::json!({ "shelf": shelf, "name": [name, null, 0.1] }),
        1 => serde_json::json!(shelf),
        _ => serde_json::json!(shelf.len()),
    })
}

#[derive(Debug)]
struct Visits;
impl Projection for Visits {
    const NAME: &'static str = "visits";
    type Row = VisitRow;
    fn fold(on: &mut Fold<VisitRow>) {
        on.on::<Moved>(
            |e, keys| keys.add_parts(&[Value::Uuid(e.aggregate_id.0), Value::Text(&e.payload.shelf)]),
            |row, e| match row.get() {
                Some(_) => row.change(|visit| visit.times += 1),
                None => row.insert(VisitRow { item: e.aggregate_id, shelf: e.payload.shelf.clone(), times: 1 }),
            },
        );
    }
}

#[derive(Debug)]
struct ShelfTotals;
impl Rollup for ShelfTotals {
    const NAME: &'static str = "shelf_totals";
    type Of = Items;
    type Group = ShelfGroup;
    const MEASURES: &'static [&'static str] = &["items", "price"];
    fn contribute(row: &ItemRow, out: &mut Contributions<ShelfGroup>) {
        out.add(ShelfGroup { shelf: row.shelf.clone() }, &[1, row.price.unwrap_or_default()]);
    }
}

#[derive(Debug)]
struct ItemsV2;
impl Projection for ItemsV2 {
    const NAME: &'static str = "items";
    type Row = ItemRowV2;
    fn fold(on: &mut Fold<ItemRowV2>) {
        on.on::<Added>(own, |row, e| row.insert(ItemRowV2 { name: e.payload.name.clone(), moves: 0 }));
        on.on::<Moved>(own, |row, _| row.change(|item| item.moves += 1));
        on.on::<Removed>(own, |row, _| row.delete());
    }
}

/// Version 1: two tables, one with compound keys, and a rollup.
pub fn stock_v1() -> Arc<ReadModel> {
    Arc::new(ReadModel::new(STOCK, 1, &CATALOGUE).table::<Items>().table::<Visits>().rollup::<ShelfTotals>())
}

/// Version 2: one table.
pub fn stock_v2() -> Arc<ReadModel> {
    Arc::new(ReadModel::new(STOCK, 2, &CATALOGUE).table::<ItemsV2>())
}

/// Both versions, as a build carries them.
pub fn read_models() -> [Arc<ReadModel>; 2] {
    [stock_v1(), stock_v2()]
}

/// Empty tables for all keys.
pub fn new_tables(model: &ReadModel) -> Tables {
    model.new_tables(KeyRange::ALL)
}
