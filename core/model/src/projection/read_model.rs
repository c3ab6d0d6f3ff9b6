//! Read models: named, versioned sets of projections and rollups that share one sink and one checkpoint.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use foldhash::HashMap;

use crate::engine_record::{ACCEPTED_SCHEMA, CLAIM_SCHEMA};
use crate::envelope::{Record, SchemaId};
use crate::event::{Event, SchemaCatalogue};
use crate::ids::{ContextId, EventId};
use crate::position::RecordOffset;
use crate::projection::Projection;
use crate::projection::fold::{ApplyError, EventGroup, Fold, Refusal};
use crate::projection::key::{KeyRange, KeySets, Keys, RowKey};
use crate::projection::left_out::{COLUMNS_MAX, LeftOut};
use crate::projection::rollup::{Rollup, RollupPlan, RollupTotals};
use crate::projection::row::{Column, Row};
use crate::projection::shape::{TableKind, TableShape};
use crate::projection::table::{AnyTable, Table, Tables};
use crate::projection::value::ColumnType;

/// An event type that a read model applies, and the versions of it that this build reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscribedEvent {
    /// Whose event.
    pub context: ContextId,
    /// Wire name.
    pub event_type: &'static str,
    /// Oldest major version.
    pub oldest_version: i32,
    /// Newest major version.
    pub newest_version: i32,
}

/// An event that a read model could not apply. It stops there, with this to say why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "read model {read_model} cannot apply {event_type} {event_id} at offset {offset}{}: {cause}",
    row(self.table, self.key)
)]
pub struct ApplyFailure {
    /// Which read model.
    pub read_model: &'static str,
    /// Which table, where it came that far.
    pub table: Option<&'static str>,
    /// Which row, where it came that far.
    pub key: Option<RowKey>,
    /// Where the event lies in its partition.
    pub offset: RecordOffset,
    /// The event.
    pub event_id: EventId,
    /// Its wire name.
    pub event_type: String,
    /// What is wrong.
    #[source]
    pub cause: ApplyError,
}

fn row(table: Option<&'static str>, key: Option<RowKey>) -> String {
    match (table, key) {
        (Some(table), Some(key)) => format!(" to {table} row {key}"),
        _ => String::new(),
    }
}

/// What to do with the events of one schema.
#[derive(Clone, Copy)]
enum Target {
    /// Known, and nobody asked for it.
    Skip,
    /// The group with this index.
    Group(usize),
}

/// A named, versioned set of projections and rollups. Build it once and share it.
pub struct ReadModel {
    name: &'static str,
    version: u32,
    catalogue: SchemaCatalogue,
    shapes: Vec<TableShape>,
    tables: Vec<TableMaker>,
    rollups: Arc<[RollupPlan]>,
    groups: Vec<(TypeId, Box<dyn EventGroup>)>,
    targets: HashMap<u32, Target>,
}

struct TableMaker {
    projection: TypeId,
    name: &'static str,
    make: fn(bool, LeftOut) -> Box<dyn AnyTable>,
    has_rollup: bool,
    left_out: LeftOut,
}

impl fmt::Debug for ReadModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

impl ReadModel {
    /// Without tables. `catalogue` is every schema that this build knows: a record of any other is a failure, because
    /// nobody can say that it does not matter.
    pub fn new(name: &'static str, version: u32, catalogue: &SchemaCatalogue) -> Self {
        let mut model = Self {
            name,
            version,
            catalogue: *catalogue,
            shapes: Vec::new(),
            tables: Vec::new(),
            rollups: Arc::new([]),
            groups: Vec::new(),
            targets: HashMap::default(),
        };
        model.find_targets();
        model
    }

    /// Adds the table of a projection.
    ///
    /// # Panics
    /// When the definition is wrong: a name twice, a projection without events, or with events of several contexts.
    #[must_use]
    pub fn table<P: Projection>(mut self) -> Self {
        let index = self.tables.len();
        self.add_shape(TableShape {
            name: P::NAME,
            columns: P::Row::COLUMNS.to_vec(),
            measures: 0,
            kind: TableKind::Rows(index),
            indexes: P::INDEXES.to_vec(),
        });
        let mut fold = Fold::<P::Row>::new(index);
        P::fold(&mut fold);
        let mut context = None;
        for subscription in fold.subscriptions {
            let found = self.groups.iter().position(|(event, _)| *event == subscription.event);
            let group = found.unwrap_or_else(|| {
                self.groups.push((subscription.event, (subscription.new_group)()));
                self.groups.len() - 1
            });
            let group = &mut self.groups[group].1;
            let owner = *context.get_or_insert_with(|| group.context());
            assert_eq!(owner, group.context(), "all events of table {} belong to one context", P::NAME);
            group.add(subscription.handler);
        }
        assert!(context.is_some(), "table {} applies no event", P::NAME);
        self.tables.push(TableMaker {
            projection: TypeId::of::<P>(),
            name: P::NAME,
            make: Table::<P::Row>::boxed,
            has_rollup: false,
            left_out: LeftOut::NONE,
        });
        self.find_targets();
        self
    }

    /// The same as an older version: what the newer one has more is then left out ([`ReadModel::without`],
    /// [`ReadModel::ignoring`]). So each version is written as its difference to the next.
    ///
    /// # Panics
    /// Unless the version is lower.
    #[must_use]
    pub fn older(mut self, version: u32) -> Self {
        assert!(version < self.version, "version {version} of {} is not older than {}", self.name, self.version);
        self.version = version;
        self
    }

    /// Leaves columns of its row out of a projection's table: how a version is written that has fewer than the next one.
    /// They are neither stored nor loaded, compared, digested or shown; their fields are absent
    /// ([`crate::projection::Field::absent`]) whenever a handler or a rollup sees the row, so that no other column can come
    /// to depend on where a row was loaded. A column that others are computed from cannot go like this: the version's
    /// golden rows would say so, and it keeps a projection of its own.
    ///
    /// # Panics
    /// When the definition is wrong: there is no such table or column, it was left out already, or none stays.
    #[must_use]
    pub fn without<P: Projection>(mut self, columns: &[&str]) -> Self {
        let index = self.table_of::<P>();
        let table = &mut self.tables[index];
        let whole = P::Row::COLUMNS;
        assert!(whole.len() <= COLUMNS_MAX, "table {} has more columns than {COLUMNS_MAX}", P::NAME);
        for name in columns {
            let place = whole.iter().position(|column| column.name == *name);
            let place = place.filter(|place| !table.left_out.contains(*place));
            let place = place.unwrap_or_else(|| panic!("table {} has no column {name} to leave out", P::NAME));
            table.left_out = table.left_out.with(place);
        }
        assert!(table.left_out.len() < whole.len(), "a column of table {} stays", P::NAME);
        let left_out = table.left_out;
        self.shape_of(index).leave_out(whole, left_out);
        self
    }

    /// Leaves indexes of a projection's table out, for a version that was made before they were. An index over a column
    /// that is left out is gone already.
    ///
    /// # Panics
    /// When the definition is wrong: there is no such table or index.
    #[must_use]
    pub fn without_indexes<P: Projection>(mut self, names: &[&str]) -> Self {
        let table = self.table_of::<P>();
        let indexes = &mut self.shape_of(table).indexes;
        for name in names {
            let place = indexes.iter().position(|index| index.name == *name);
            indexes.remove(place.unwrap_or_else(|| panic!("table {} has no index {name} to leave out", P::NAME)));
        }
        self
    }

    /// Takes a projection's handlers of an event out: for a version whose table did not apply it yet.
    ///
    /// # Panics
    /// When the definition is wrong: there is no such table, or it has no handler of the event.
    #[must_use]
    pub fn ignoring<P: Projection, E: Event>(mut self) -> Self {
        let table = self.table_of::<P>();
        let group = self.groups.iter_mut().find(|(event, _)| *event == TypeId::of::<E>());
        let removed = group.map_or(0, |(_, group)| group.remove(table));
        assert!(removed > 0, "table {} applies no {}", P::NAME, E::EVENT_TYPE);
        self.groups.retain(|(_, group)| !group.is_empty());
        self.find_targets();
        self
    }

    fn shape_of(&mut self, table: usize) -> &mut TableShape {
        let shape = self.shapes.iter_mut().find(|shape| shape.kind == TableKind::Rows(table));
        shape.expect("each table was added with its shape")
    }

    fn table_of<P: Projection>(&self) -> usize {
        let index = self.tables.iter().position(|table| table.projection == TypeId::of::<P>());
        index.unwrap_or_else(|| panic!("table {} is no table of {}", P::NAME, self.name))
    }

    /// Adds the table of a rollup, behind the table of its projection.
    ///
    /// # Panics
    /// When the definition is wrong: a name twice, or a projection that is not a table of this read model.
    #[must_use]
    pub fn rollup<T: Rollup>(mut self) -> Self {
        let of = self.tables.iter().position(|table| table.projection == TypeId::of::<T::Of>());
        let of = of.unwrap_or_else(|| panic!("rollup {} comes behind table {}", T::NAME, <T::Of as Projection>::NAME));
        self.tables[of].has_rollup = true;
        let measures = T::MEASURES.iter().map(|name| Column { name, column_type: ColumnType::Int, nullable: false });
        let columns = T::Group::COLUMNS.iter().copied().chain(measures).collect();
        let index = self.rollups.len();
        self.add_shape(TableShape {
            name: T::NAME,
            columns,
            measures: T::MEASURES.len(),
            kind: TableKind::Rollup(index),
            indexes: T::INDEXES.to_vec(),
        });
        self.rollups = self.rollups.iter().copied().chain([RollupPlan::new::<T>(of)]).collect();
        self
    }

    fn add_shape(&mut self, added: TableShape) {
        let name = added.name;
        assert!(self.shapes.iter().all(|shape| shape.name != name), "two tables of {} are named {name}", self.name);
        added.check_indexes();
        self.shapes.push(added);
    }

    fn find_targets(&mut self) {
        let groups = &self.groups;
        let target =
            |event_type: &str, version: i32| match groups.iter().position(|(_, g)| g.event_type() == event_type) {
                None => Some(Target::Skip),
                // A version that the event type no longer reads is as good as unknown.
                Some(index) => {
                    let group = &groups[index].1;
                    (group.oldest_version()..=group.newest_version()).contains(&version).then_some(Target::Group(index))
                }
            };
        let known = self
            .catalogue
            .iter()
            .filter_map(|schema| target(schema.event_type, schema.version).map(|target| (schema.id.0, target)));
        let engine = [CLAIM_SCHEMA, ACCEPTED_SCHEMA].map(|schema| (schema.0, Target::Skip));
        self.targets = known.chain(engine).collect();
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
    /// Its version: another one whenever a handler, a row or a table changes.
    pub const fn version(&self) -> u32 {
        self.version
    }
    /// Every schema that its build knows.
    pub fn catalogue(&self) -> &SchemaCatalogue {
        &self.catalogue
    }
    /// The contexts whose events it applies, by number.
    pub fn contexts(&self) -> Vec<ContextId> {
        let mut contexts: Vec<ContextId> = self.groups.iter().map(|(_, group)| group.context()).collect();
        contexts.sort_unstable();
        contexts.dedup();
        contexts
    }
    /// Its tables, of rows and of rollups, in the order of their definition.
    pub fn tables(&self) -> &[TableShape] {
        &self.shapes
    }
    /// The event types that it applies.
    pub fn event_types(&self) -> impl Iterator<Item = SubscribedEvent> + '_ {
        self.groups.iter().map(|(_, group)| SubscribedEvent {
            context: group.context(),
            event_type: group.event_type(),
            oldest_version: group.oldest_version(),
            newest_version: group.newest_version(),
        })
    }
    /// Empty tables for the rows of a range of keys.
    pub fn new_tables(&self, range: KeyRange) -> Tables {
        Tables {
            range,
            tables: self.tables.iter().map(|table| (table.make)(table.has_rollup, table.left_out)).collect(),
            rollups: self.rollups.clone(),
            keys: Keys::default(),
        }
    }
    /// No totals yet.
    pub fn new_rollup_totals(&self) -> RollupTotals {
        RollupTotals::new(self.rollups.len())
    }
    /// Empty key sets, one per table of rows.
    pub fn new_key_sets(&self) -> KeySets {
        KeySets::new(self.tables.len())
    }

    /// Adds the keys that an event touches: the rows to load before it is applied.
    pub fn route(&self, record: &Record<'_>, keys: &mut KeySets) -> Result<(), Box<ApplyFailure>> {
        match self.target(record.schema) {
            Some(Target::Skip) => Ok(()),
            Some(Target::Group(group)) => self.groups[group]
                .1
                .route(record, keys)
                .map_err(|cause| self.failure(record, Refusal { row: None, cause })),
            None => Err(self.unknown(record)),
        }
    }

    /// Applies an event to the rows that it touches. After a failure the tables are partly changed: drop them.
    #[inline]
    pub fn apply(&self, record: &Record<'_>, tables: &mut Tables) -> Result<(), Box<ApplyFailure>> {
        match self.target(record.schema) {
            Some(Target::Skip) => Ok(()),
            Some(Target::Group(group)) => {
                self.groups[group].1.apply(record, tables).map_err(|refusal| self.failure(record, refusal))
            }
            None => Err(self.unknown(record)),
        }
    }

    fn target(&self, schema: SchemaId) -> Option<Target> {
        self.targets.get(&schema.0).copied()
    }

    #[cold]
    fn unknown(&self, record: &Record<'_>) -> Box<ApplyFailure> {
        self.failure(record, Refusal { row: None, cause: ApplyError::UnknownSchema(record.schema) })
    }

    #[cold]
    fn failure(&self, record: &Record<'_>, refusal: Refusal) -> Box<ApplyFailure> {
        Box::new(ApplyFailure {
            read_model: self.name,
            table: refusal.row.map(|(table, _)| self.tables[table].name),
            key: refusal.row.map(|(_, key)| key),
            offset: record.offset,
            event_id: record.envelope.event_id,
            event_type: record.envelope.event_type.into(),
            cause: refusal.cause,
        })
    }
}
