//! What one generation holds, in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_model::ids::LogId;
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::projection::{
    GroupRow, KeySets, OwnedValue, ReadModel, RollupTotals, RowError, RowKey, RowLife, TableKind, Tables, Value,
};

use crate::limits::SNAPSHOT_CHUNK_ROWS_MAX;
use crate::sink::{Checkpoints, StoredRow};

/// One generation's rows; the gate is held by who writes, and by a promotion that wants them still.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) gate: Arc<tokio::sync::Mutex<()>>,
    held: Mutex<Held>,
}

/// Rows and checkpoints.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// In the order of the read model's tables.
    tables: Vec<BTreeMap<RowKey, StoredRow>>,
    pub(super) checkpoints: Checkpoints,
}

impl Content {
    pub(super) fn new(model: &ReadModel, log_id: LogId) -> Self {
        let tables = vec![BTreeMap::new(); model.tables().len()];
        Self { gate: Arc::default(), held: Mutex::new(Held { tables, checkpoints: Checkpoints::start(log_id) }) }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One step of a commit.
pub(super) struct Write<'a> {
    pub(super) changes: &'a Tables,
    pub(super) model: &'a ReadModel,
    pub(super) tombstones: bool,
    pub(super) rows: bool,
    pub(super) rollups: bool,
    pub(super) checkpoint: Option<(ContextPartition, Checkpoint)>,
}

impl Write<'_> {
    pub(super) fn write(&self, held: &mut Held) {
        // Before anything is changed: a rollup's code may panic, and half a commit would stay.
        let deltas: Vec<_> = self.model.tables().iter().map(|shape| self.deltas(shape.kind)).collect();
        for ((stored, shape), deltas) in held.tables.iter_mut().zip(self.model.tables()).zip(&deltas) {
            match shape.kind {
                TableKind::Rows(index) if self.rows => {
                    for key in self.changes.changed_keys(index) {
                        let row = row_of(self.changes, index, key);
                        if row.life == RowLife::Deleted && !self.tombstones {
                            stored.remove(&key);
                        } else {
                            stored.insert(key, row);
                        }
                    }
                }
                TableKind::Rows(_) | TableKind::Rollup(_) => {
                    deltas.iter().for_each(|delta| add_delta(stored, delta));
                }
            }
        }
        if let Some((at, to)) = self.checkpoint {
            held.checkpoints.set(at, to);
        }
    }

    fn deltas(&self, kind: TableKind) -> Vec<GroupRow> {
        match kind {
            TableKind::Rollup(index) if self.rollups => self.changes.rollup_deltas(index),
            TableKind::Rows(_) | TableKind::Rollup(_) => Vec::new(),
        }
    }
}

impl Held {
    pub(super) fn load(
        &self,
        model: &ReadModel,
        keys: &KeySets,
        tables: &mut Tables,
    ) -> Result<(), (&'static str, RowError)> {
        for (stored, shape) in self.tables.iter().zip(model.tables()) {
            let TableKind::Rows(index) = shape.kind else { continue };
            for row in keys.sorted(index).iter().filter_map(|key| stored.get(key)) {
                let values: Vec<Value<'_>> = row.values.iter().map(OwnedValue::as_value).collect();
                tables.load(index, row.key, row.life, &values).map_err(|error| (shape.name, error))?;
            }
        }
        Ok(())
    }

    pub(super) fn add_all(&mut self, model: &ReadModel, shard: &Tables) {
        for (stored, shape) in self.tables.iter_mut().zip(model.tables()) {
            let TableKind::Rows(index) = shape.kind else { continue };
            for key in shard.sorted_keys(index) {
                stored.insert(key, row_of(shard, index, key));
            }
        }
    }

    pub(super) fn finish(&mut self, model: &ReadModel, rollups: &RollupTotals, checkpoints: &Checkpoints) {
        for (stored, shape) in self.tables.iter_mut().zip(model.tables()) {
            let TableKind::Rollup(index) = shape.kind else { continue };
            rollups.rows(index).iter().for_each(|group| add_delta(stored, group));
        }
        self.checkpoints = checkpoints.clone();
    }

    pub(super) fn page(&self, table: usize, after: Option<RowKey>, rows: &mut Vec<StoredRow>) {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        rows.clear();
        rows.extend(
            self.tables[table]
                .range((lower, Bound::Unbounded))
                .take(SNAPSHOT_CHUNK_ROWS_MAX)
                .map(|(_, row)| row.clone()),
        );
    }
}

fn row_of(tables: &Tables, index: usize, key: RowKey) -> StoredRow {
    let mut values = Vec::new();
    // The key was listed by these very tables.
    let life = tables.values(index, &key, &mut values).unwrap_or(RowLife::Deleted);
    StoredRow { key, life, values: values.into_iter().map(|value| value.into_owned()).collect() }
}

fn add_delta(stored: &mut BTreeMap<RowKey, StoredRow>, delta: &GroupRow) {
    let row = stored.entry(delta.key).or_insert_with(|| StoredRow {
        key: delta.key,
        life: RowLife::Live,
        values: delta.group.iter().cloned().chain(delta.measures.iter().map(|_| OwnedValue::Int(0))).collect(),
    });
    let measures = &mut row.values[delta.group.len()..];
    for (sum, added) in measures.iter_mut().zip(&delta.measures) {
        if let OwnedValue::Int(sum) = sum {
            *sum += added;
        }
    }
    if measures.iter().all(|sum| *sum == OwnedValue::Int(0)) {
        stored.remove(&delta.key);
    }
}
