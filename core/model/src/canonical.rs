//! Canonical bytes of rows, and the digests over them that prove two copies of a read model equal.
//!
//! Every value is tagged with its type and delimits itself, so two different rows never have the same bytes, also
//! not by moving a boundary between two of their columns.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::projection::{RowKey, RowLife, Value};

/// Appends the canonical bytes of a value.
pub fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(false) => out.push(1),
        Value::Bool(true) => out.push(2),
        Value::Int(int) => {
            out.push(3);
            out.extend_from_slice(&int.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(4);
            out.extend_from_slice(&(text.len() as u64).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Uuid(id) => {
            out.push(5);
            out.extend_from_slice(id.as_bytes());
        }
        Value::Timestamp(at) => {
            out.push(6);
            out.extend_from_slice(&at.0.to_be_bytes());
        }
    }
}

/// Appends the canonical bytes of a row: its table's name, its key, whether it is deleted, the number of its columns
/// and their values.
pub fn put_row(out: &mut Vec<u8>, table: &str, key: &RowKey, life: RowLife, values: &[Value<'_>]) {
    put_value(out, Value::Text(table));
    out.extend_from_slice(key.tenant.as_bytes());
    out.extend_from_slice(key.workspace.as_bytes());
    out.extend_from_slice(key.id.0.as_bytes());
    put_value(out, Value::Bool(life == RowLife::Deleted));
    out.extend_from_slice(&(values.len() as u32).to_be_bytes());
    for value in values {
        put_value(out, *value);
    }
}

/// SHA-256 over canonical bytes. Text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Digest {
    /// The digest over several tables, in their read model's order: what a verified generation is recorded with.
    pub fn of_tables<'a>(tables: impl IntoIterator<Item = (&'a str, u64, Digest)>) -> Self {
        let mut hasher = Sha256::new();
        let mut bytes = Vec::new();
        for (name, rows, digest) in tables {
            bytes.clear();
            put_value(&mut bytes, Value::Text(name));
            bytes.extend_from_slice(&rows.to_be_bytes());
            bytes.extend_from_slice(&digest.0);
            hasher.update(&bytes);
        }
        Self(hasher.finalize().into())
    }
}

/// The digest of one table: SHA-256 over the canonical bytes of its rows in ascending key order.
#[derive(Clone, Debug)]
pub struct TableDigest {
    table: &'static str,
    hasher: Sha256,
    bytes: Vec<u8>,
    last: Option<RowKey>,
    rows: u64,
}

impl TableDigest {
    /// Of an empty table.
    pub fn new(table: &'static str) -> Self {
        Self { table, hasher: Sha256::new(), bytes: Vec::new(), last: None, rows: 0 }
    }

    /// Adds the next row.
    ///
    /// # Panics
    /// When keys do not ascend: a digest over another order would compare nothing.
    pub fn add(&mut self, key: &RowKey, life: RowLife, values: &[Value<'_>]) {
        assert!(self.last.is_none_or(|last| last < *key), "rows of {} in ascending key order", self.table);
        self.last = Some(*key);
        self.rows += 1;
        self.bytes.clear();
        put_row(&mut self.bytes, self.table, key, life, values);
        self.hasher.update(&self.bytes);
    }

    /// Number of rows added.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of all rows added.
    pub fn finish(self) -> Digest {
        Digest(self.hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests;
