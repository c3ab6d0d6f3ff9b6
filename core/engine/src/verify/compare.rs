//! Two streams of rows in key order, side by side.

use std::io;

use annals_model::canonical::{TableDigest, put_row, read_row};
use annals_model::projection::{OwnedValue, RollupTotals, RowKey, RowLife, TableKind, Tables, Value};

use super::spool::{Cursor, Spool, SpooledTable};
use super::{Divergence, RowImage, TableReport};
use crate::limits;

/// A comparison under way: rows come in ranges of keys, the rollups at the end.
#[derive(Debug)]
pub(super) struct Comparison {
    tables: Vec<TableComparison>,
    first: Vec<Divergence>,
}

#[derive(Debug)]
struct TableComparison {
    report: TableReport,
    kind: TableKind,
    stored: Cursor,
    folded: TableDigest,
}

impl Comparison {
    pub(super) fn new(spool: Spool) -> io::Result<Self> {
        let table = |table: SpooledTable| {
            let folded = TableDigest::new(table.table);
            Ok(TableComparison {
                report: TableReport {
                    table: table.table,
                    rows: table.rows,
                    digest: table.digest,
                    folded_rows: 0,
                    folded_digest: folded.clone().finish(),
                    diverging: 0,
                },
                kind: table.kind,
                stored: Cursor::new(table.file, table.rows)?,
                folded,
            })
        };
        let tables = spool.tables.into_iter().map(table).collect::<io::Result<_>>()?;
        Ok(Self { tables, first: Vec::new() })
    }

    /// Compares the rows of one range of keys; ranges come in ascending order.
    pub(super) fn range(mut self, shards: &[Tables]) -> io::Result<Self> {
        let upper = shards.first().and_then(|shard| shard.range().upper);
        let (mut canonical, mut values) = (Vec::new(), Vec::new());
        for table in &mut self.tables {
            let TableKind::Rows(index) = table.kind else { continue };
            for (key, shard) in merged_keys(shards, index) {
                values.clear();
                // A key that the shard has just named.
                let Some(life) = shards[shard].values(index, &key, &mut values) else { continue };
                canonical.clear();
                put_row(&mut canonical, &key, life, &values);
                table.take(&key, &canonical, &mut self.first)?;
            }
            table.skip_to(upper, &mut self.first)?;
        }
        Ok(self)
    }

    /// Compares the rows of the rollups.
    pub(super) fn rollups(mut self, totals: &RollupTotals) -> io::Result<Self> {
        let mut canonical = Vec::new();
        for table in &mut self.tables {
            let TableKind::Rollup(index) = table.kind else { continue };
            for row in totals.rows(index) {
                let measures = row.measures.iter().map(|measure| Value::Int(*measure));
                let values: Vec<_> = row.group.iter().map(OwnedValue::as_value).chain(measures).collect();
                canonical.clear();
                put_row(&mut canonical, &row.key, RowLife::Live, &values);
                table.take(&row.key, &canonical, &mut self.first)?;
            }
            table.skip_to(None, &mut self.first)?;
        }
        Ok(self)
    }

    /// By table; and the first rows that differ.
    pub(super) fn into_reports(self) -> (Vec<TableReport>, Vec<Divergence>) {
        let report = |table: TableComparison| TableReport {
            folded_rows: table.folded.rows(),
            folded_digest: table.folded.finish(),
            ..table.report
        };
        (self.tables.into_iter().map(report).collect(), self.first)
    }
}

impl TableComparison {
    /// The next row by the log.
    fn take(&mut self, key: &RowKey, folded: &[u8], first: &mut Vec<Divergence>) -> io::Result<()> {
        self.skip_to(Some(*key), first)?;
        self.folded.add(key, folded);
        match self.stored.row() {
            Some((stored_key, stored)) if stored_key == *key => {
                if stored != folded {
                    let stored = image(stored)?;
                    self.diverges(*key, Some(stored), Some(image(folded)?), first);
                }
                self.stored.advance()
            }
            _ => {
                self.diverges(*key, None, Some(image(folded)?), first);
                Ok(())
            }
        }
    }

    /// Rows of the generation before `bound` of which the log knows nothing.
    fn skip_to(&mut self, bound: Option<RowKey>, first: &mut Vec<Divergence>) -> io::Result<()> {
        while let Some((key, stored)) = self.stored.row()
            && bound.is_none_or(|bound| key < bound)
        {
            let stored = image(stored)?;
            self.diverges(key, Some(stored), None, first);
            self.stored.advance()?;
        }
        Ok(())
    }

    fn diverges(
        &mut self,
        key: RowKey,
        stored: Option<RowImage>,
        folded: Option<RowImage>,
        first: &mut Vec<Divergence>,
    ) {
        self.report.diverging += 1;
        if first.len() < limits::VERIFY_DIVERGENCES_MAX {
            first.push(Divergence { table: self.report.table, key, stored, folded, events: Vec::new() });
        }
    }
}

fn image(canonical: &[u8]) -> io::Result<RowImage> {
    let (_, life, values) = read_row(canonical).map_err(io::Error::other)?;
    Ok(RowImage { life, values })
}

/// The keys that tables of one range hold of a table, ascending, each with its shard.
fn merged_keys(shards: &[Tables], table: usize) -> Vec<(RowKey, usize)> {
    let of = |(shard, tables): (usize, &Tables)| tables.sorted_keys(table).into_iter().map(move |key| (key, shard));
    let mut keys: Vec<(RowKey, usize)> = shards.iter().enumerate().flat_map(of).collect();
    // Runs that are sorted already: cheap.
    keys.sort();
    keys
}
