//! Rollups: counts and sums over groups of rows, kept current by adding what changed rows contribute.

use std::fmt;
use std::marker::PhantomData;

use foldhash::HashMap;

use crate::canonical;
use crate::ids::{TenantId, WorkspaceId};
use crate::projection::Projection;
use crate::projection::key::{RowId, RowKey};
use crate::projection::row::Row;
use crate::projection::shape::Index;
use crate::projection::table::{AnyTable, Origin, RowLife, Table, Tables};
use crate::projection::value::OwnedValue;

/// Integer sums over the live rows of one projection, by group. Its table has the group's columns, then the measures.
/// A group whose measures are all 0 has no row.
pub trait Rollup: 'static {
    /// The table's name.
    const NAME: &'static str;
    /// Whose rows contribute.
    type Of: Projection;
    /// What a group is named by, within its workspace; `()` for one group per workspace.
    type Group: Row;
    /// Names of the sums.
    const MEASURES: &'static [&'static str];
    /// What queries look it up or order it by, besides its key.
    const INDEXES: &'static [Index] = &[];
    /// What one live row contributes: any number of groups, a number per measure each. Pure.
    fn contribute(row: &<Self::Of as Projection>::Row, out: &mut Contributions<Self::Group>);
}

/// Takes what one row contributes.
pub struct Contributions<G> {
    groups: Groups,
    tenant: TenantId,
    workspace: WorkspaceId,
    sign: i64,
    measures: usize,
    group: PhantomData<fn(G)>,
}

impl<G> fmt::Debug for Contributions<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contributions").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl<G: Row> Contributions<G> {
    /// Contributes to a group of the row's workspace: one number per measure.
    ///
    /// # Panics
    /// When there are not as many numbers as measures.
    pub fn add(&mut self, group: G, measures: &[i64]) {
        assert_eq!(measures.len(), self.measures, "one number per measure of the rollup");
        self.groups.add(self.tenant, self.workspace, &group, self.sign, measures);
    }
}

/// One row of a rollup's table, or a change to one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRow {
    /// Its key: `id` is made of the group's values.
    pub key: RowKey,
    /// The group's columns.
    pub group: Vec<OwnedValue>,
    /// The sums, or what is added to them.
    pub measures: Vec<i64>,
}

/// The sums of all rollups of a read model over all its live rows, added up over key ranges and partitions. Made by
/// [`crate::projection::ReadModel::new_rollup_totals`].
#[derive(Clone, Debug)]
pub struct RollupTotals {
    rollups: Vec<Groups>,
}

impl RollupTotals {
    pub(crate) fn new(rollups: usize) -> Self {
        Self { rollups: vec![Groups::default(); rollups] }
    }
    /// Adds what all live rows of `tables` contribute. Each row is to be added once.
    pub fn add(&mut self, tables: &Tables) {
        for (rollup, groups) in self.rollups.iter_mut().enumerate() {
            tables.add_rollup_totals(rollup, groups);
        }
    }
    /// The rows of the rollup with this index, ascending by key, without zeros.
    pub fn rows(&self, rollup: usize) -> Vec<GroupRow> {
        self.rollups[rollup].clone().into_rows()
    }
}

/// Sums by group. What is added in any order makes the same sums.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    /// By tenant, workspace and canonical bytes of the group.
    sums: HashMap<Vec<u8>, Sum>,
    /// Room for the key of one contribution.
    key: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Sum {
    tenant: TenantId,
    workspace: WorkspaceId,
    group: Vec<OwnedValue>,
    measures: Vec<i64>,
}

/// Bytes of tenant and workspace before the group's canonical bytes.
const SCOPE_BYTES: usize = 32;

impl Groups {
    fn add<G: Row>(&mut self, tenant: TenantId, workspace: WorkspaceId, group: &G, sign: i64, measures: &[i64]) {
        let mut values = Vec::with_capacity(G::COLUMNS.len());
        group.values(&mut values);
        self.key.clear();
        self.key.extend_from_slice(tenant.as_bytes());
        self.key.extend_from_slice(workspace.as_bytes());
        values.iter().for_each(|value| canonical::put_value(&mut self.key, *value));
        let sum = match self.sums.get_mut(&self.key) {
            Some(sum) => sum,
            None => self.sums.entry(self.key.clone()).or_insert_with(|| Sum {
                tenant,
                workspace,
                group: values.iter().map(|value| value.into_owned()).collect(),
                measures: vec![0; measures.len()],
            }),
        };
        for (sum, measure) in sum.measures.iter_mut().zip(measures) {
            // Wrapping, so that sums do not depend on the order of what is added, whatever the numbers are.
            *sum = sum.wrapping_add(sign.wrapping_mul(*measure));
        }
    }

    /// The sums as rows, ascending by key, without those whose measures are all 0.
    pub(crate) fn into_rows(self) -> Vec<GroupRow> {
        let sums = self.sums.into_iter().filter(|(_, sum)| sum.measures.iter().any(|measure| *measure != 0));
        let mut rows: Vec<GroupRow> = sums
            .map(|(key, sum)| GroupRow {
                key: RowKey {
                    tenant: sum.tenant,
                    workspace: sum.workspace,
                    id: RowId::of_canonical(&key[SCOPE_BYTES..]),
                },
                group: sum.group,
                measures: sum.measures,
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.key);
        rows
    }
}

/// One rollup with its types erased.
#[derive(Clone, Copy)]
pub(crate) struct RollupPlan {
    /// Index of the table whose rows contribute.
    pub(crate) of: usize,
    pub(crate) deltas: fn(&dyn AnyTable, &mut Groups),
    pub(crate) totals: fn(&dyn AnyTable, &mut Groups),
}

impl RollupPlan {
    pub(crate) fn new<T: Rollup>(of: usize) -> Self {
        Self { of, deltas: deltas::<T>, totals: totals::<T> }
    }
}

fn contribute<T: Rollup>(groups: &mut Groups, key: &RowKey, row: &<T::Of as Projection>::Row, sign: i64) {
    let mut out = Contributions {
        groups: std::mem::take(groups),
        tenant: key.tenant,
        workspace: key.workspace,
        sign,
        measures: T::MEASURES.len(),
        group: PhantomData,
    };
    T::contribute(row, &mut out);
    *groups = out.groups;
}

fn deltas<T: Rollup>(table: &dyn AnyTable, groups: &mut Groups) {
    for (key, slot) in &Table::<<T::Of as Projection>::Row>::of(table).rows {
        match &slot.origin {
            Origin::Clean => continue,
            Origin::Absent => {}
            Origin::Row(before) => contribute::<T>(groups, key, before, -1),
        }
        if slot.life == RowLife::Live {
            contribute::<T>(groups, key, &slot.row, 1);
        }
    }
}

fn totals<T: Rollup>(table: &dyn AnyTable, groups: &mut Groups) {
    for (key, slot) in &Table::<<T::Of as Projection>::Row>::of(table).rows {
        if slot.life == RowLife::Live {
            contribute::<T>(groups, key, &slot.row, 1);
        }
    }
}
