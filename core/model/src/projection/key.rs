//! Which row: keys, ranges of keys, and the keys that events touch.

use std::hash::{Hash, Hasher};

use foldhash::HashSet;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::canonical;
use crate::envelope::Envelope;
use crate::ids::{AggregateId, TenantId, WorkspaceId};
use crate::projection::value::Value;

/// The last part of a row's key: an aggregate's id, or the hash of what a compound key is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RowId(pub Uuid);

impl RowId {
    /// The id of a compound key: UUIDv8 of SHA-256 over the parts' canonical bytes. Equal parts make equal ids.
    pub fn of_parts(parts: &[Value<'_>]) -> Self {
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| canonical::put_value(&mut bytes, *part));
        Self::of_canonical(&bytes)
    }

    pub(crate) fn of_canonical(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(first).into_uuid())
    }
}

impl From<AggregateId> for RowId {
    fn from(id: AggregateId) -> Self {
        Self(id.0)
    }
}

/// A row's primary key. Tenant and workspace come from the envelope, never from a handler: no projection can reach
/// another scope's row. Ordered by bytes, like the primary key of its table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RowKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The workspace that the row belongs to, nil for tenant-level rows.
    pub workspace: WorkspaceId,
    /// Which row of the scope.
    pub id: RowId,
}

impl RowKey {
    /// The key of the row `id` in the scope that an event is about.
    pub fn of(envelope: &Envelope<'_>, id: RowId) -> Self {
        Self { tenant: envelope.tenant_id, workspace: envelope.workspace_id, id }
    }
}

impl std::fmt::Display for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of workspace {} of tenant {}", self.id.0, self.workspace, self.tenant)
    }
}

// Six words instead of three length-prefixed byte slices: this hash is taken once per event.
impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for id in [&self.tenant.0, &self.workspace.0, &self.id.0] {
            let (high, low) = id.as_u64_pair();
            state.write_u64(high);
            state.write_u64(low);
        }
    }
}

/// A range of keys. Events routed outside of a table's range are not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyRange {
    /// Lowest key inside; nothing = no bound.
    pub lower: Option<RowKey>,
    /// Lowest key above; nothing = no bound.
    pub upper: Option<RowKey>,
}

impl KeyRange {
    /// All keys.
    pub const ALL: Self = Self { lower: None, upper: None };

    /// True if the key lies inside.
    #[inline]
    pub fn contains(&self, key: &RowKey) -> bool {
        self.lower.is_none_or(|lower| lower <= *key) && self.upper.is_none_or(|upper| *key < upper)
    }
}

/// The keys that a route names for one event; the engine completes them with the event's tenant and workspace.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    ids: Vec<RowId>,
}

impl Keys {
    /// Adds a row; one that is there already is not added again, so no event changes a row twice.
    pub fn add(&mut self, id: impl Into<RowId>) {
        let id = id.into();
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }
    /// Adds the row of a compound key.
    pub fn add_parts(&mut self, parts: &[Value<'_>]) {
        self.add(RowId::of_parts(parts));
    }
    /// The rows named.
    pub fn ids(&self) -> &[RowId] {
        &self.ids
    }
    pub(crate) fn clear(&mut self) {
        self.ids.clear();
    }
}

/// Which rows of each table a batch of events touches: what a sink has to load before they are applied.
#[derive(Clone, Debug)]
pub struct KeySets {
    tables: Vec<HashSet<RowKey>>,
}

impl KeySets {
    pub(crate) fn new(tables: usize) -> Self {
        Self { tables: vec![HashSet::default(); tables] }
    }
    /// Adds a key of the table with this index.
    pub fn add(&mut self, table: usize, key: RowKey) {
        self.tables[table].insert(key);
    }
    /// True if the key is among those of the table with this index.
    pub fn contains(&self, table: usize, key: &RowKey) -> bool {
        self.tables[table].contains(key)
    }
    /// Keys of the table with this index, ascending.
    pub fn sorted(&self, table: usize) -> Vec<RowKey> {
        let mut keys: Vec<RowKey> = self.tables[table].iter().copied().collect();
        keys.sort_unstable();
        keys
    }
    /// Number of tables.
    pub fn tables(&self) -> usize {
        self.tables.len()
    }
    /// Number of keys, over all tables.
    pub fn len(&self) -> usize {
        self.tables.iter().map(HashSet::len).sum()
    }
    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(HashSet::is_empty)
    }
    /// Removes all keys and keeps the room.
    pub fn clear(&mut self) {
        self.tables.iter_mut().for_each(HashSet::clear);
    }
}
