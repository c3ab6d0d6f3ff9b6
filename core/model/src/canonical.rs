//! Canonical bytes of rows, and the digests over them that prove two copies of a read model equal.
//!
//! Every value is tagged with its type and delimits itself, so two different rows never have the same bytes, also
//! not by moving a boundary between two of their columns.

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::ids::{TenantId, WorkspaceId};
use crate::projection::{Float, OwnedValue, RowId, RowKey, RowLife, Value};
use crate::time::Timestamp;

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
            put_text(out, text);
        }
        Value::Uuid(id) => {
            out.push(5);
            out.extend_from_slice(id.as_bytes());
        }
        Value::Timestamp(at) => {
            out.push(6);
            out.extend_from_slice(&at.0.to_be_bytes());
        }
        Value::Float(number) => {
            out.push(7);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Json(text) => {
            out.push(8);
            put_text(out, text);
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends the canonical bytes of a row: its key, whether it is deleted, the number of its columns and their values.
pub fn put_row(out: &mut Vec<u8>, key: &RowKey, life: RowLife, values: &[Value<'_>]) {
    out.extend_from_slice(key.tenant.as_bytes());
    out.extend_from_slice(key.workspace.as_bytes());
    out.extend_from_slice(key.id.0.as_bytes());
    put_value(out, Value::Bool(life == RowLife::Deleted));
    out.extend_from_slice(&(values.len() as u32).to_be_bytes());
    values.iter().for_each(|value| put_value(out, *value));
}

/// The bytes are no canonical row: they were damaged where they lay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the canonical bytes of a row")]
pub struct NotCanonical;

/// The key at the start of a row's canonical bytes, and what follows it.
pub fn read_key(bytes: &[u8]) -> Result<(RowKey, &[u8]), NotCanonical> {
    let mut rest = bytes;
    let key = RowKey {
        tenant: TenantId(take_uuid(&mut rest)?),
        workspace: WorkspaceId(take_uuid(&mut rest)?),
        id: RowId(take_uuid(&mut rest)?),
    };
    Ok((key, rest))
}

/// Reads the canonical bytes of one row, exactly.
pub fn read_row(bytes: &[u8]) -> Result<(RowKey, RowLife, Vec<OwnedValue>), NotCanonical> {
    let (key, mut rest) = read_key(bytes)?;
    let rest = &mut rest;
    let life = match take_value(rest)? {
        OwnedValue::Bool(false) => RowLife::Live,
        OwnedValue::Bool(true) => RowLife::Deleted,
        _ => return Err(NotCanonical),
    };
    let count = u32::from_be_bytes(take(rest)?);
    let values = (0..count).map(|_| take_value(rest)).collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok((key, life, values)) } else { Err(NotCanonical) }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], NotCanonical> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(NotCanonical)?;
    *rest = left;
    Ok(*taken)
}

fn take_uuid(rest: &mut &[u8]) -> Result<Uuid, NotCanonical> {
    take(rest).map(Uuid::from_bytes)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, NotCanonical> {
    let length = usize::try_from(u64::from_be_bytes(take(rest)?)).map_err(|_| NotCanonical)?;
    let (text, left) = rest.split_at_checked(length).ok_or(NotCanonical)?;
    *rest = left;
    std::str::from_utf8(text).map_err(|_| NotCanonical)
}

fn take_value(rest: &mut &[u8]) -> Result<OwnedValue, NotCanonical> {
    Ok(match take::<1>(rest)?[0] {
        0 => OwnedValue::Null,
        1 => OwnedValue::Bool(false),
        2 => OwnedValue::Bool(true),
        3 => OwnedValue::Int(i64::from_be_bytes(take(rest)?)),
        4 => OwnedValue::Text(take_text(rest)?.into()),
        5 => OwnedValue::Uuid(take_uuid(rest)?),
        6 => OwnedValue::Timestamp(Timestamp(i64::from_be_bytes(take(rest)?))),
        7 => OwnedValue::Float(Float::from_be_bytes(take(rest)?).ok_or(NotCanonical)?),
        8 => OwnedValue::Json(take_text(rest)?.into()),
        _ => return Err(NotCanonical),
    })
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

/// The digest of one table: SHA-256 over its name and the canonical bytes of its rows in ascending key order.
#[derive(Clone, Debug)]
pub struct TableDigest {
    hasher: Sha256,
    last: Option<RowKey>,
    rows: u64,
}

impl TableDigest {
    /// Of an empty table.
    pub fn new(table: &str) -> Self {
        let mut name = Vec::new();
        put_value(&mut name, Value::Text(table));
        Self { hasher: Sha256::new_with_prefix(name), last: None, rows: 0 }
    }

    /// Adds the next row, as [`put_row`] wrote it.
    ///
    /// # Panics
    /// When keys do not ascend: a digest over another order would compare nothing.
    pub fn add(&mut self, key: &RowKey, canonical: &[u8]) {
        assert!(self.last.is_none_or(|last| last < *key), "rows in ascending key order");
        self.last = Some(*key);
        self.rows += 1;
        self.hasher.update(canonical);
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
