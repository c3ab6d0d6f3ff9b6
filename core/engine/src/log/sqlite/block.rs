//! How one append lies in its row: what is checked when it is read back.
//!
//! `count: u32`, then per record `offset - first: u32, length: u32, checksum: u32`, then the records' bytes; all
//! little-endian. A checksum is the CRC32C of the record's bytes, its context, partition and offset: a block that
//! was moved to another place is as wrong as one with a flipped bit.

use std::ops::Range;

use annals_model::position::{ContextPartition, Offset, RecordOffset};

use crate::log::holes::Holes;
use crate::log::{AppendBatch, RawBatch};

const COUNT_BYTES: usize = 4;
const ENTRY_BYTES: usize = 12;

/// An append on its way to the committer, which knows the offsets: only they are missing.
#[derive(Debug)]
pub(super) struct Unplaced(Vec<u8>);

/// Where a block's records lie, and the position behind them.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) block: Vec<u8>,
    pub(super) positions: Vec<RecordOffset>,
    pub(super) next: Offset,
}

/// Why a block cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: RecordOffset,
    pub(super) cause: String,
}

impl Unplaced {
    /// Lays out a batch; the caller's task pays for the checksums, not the committer.
    pub(super) fn new(batch: &AppendBatch) -> Self {
        Self::of(batch.len(), batch.bytes_len(), batch.iter())
    }

    /// Lays out one record.
    pub(super) fn single(record: &[u8]) -> Self {
        Self::of(1, record.len(), std::iter::once(record))
    }

    fn of<'a>(count: usize, bytes: usize, records: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let mut block = Vec::with_capacity(COUNT_BYTES + count * ENTRY_BYTES + bytes);
        block.extend_from_slice(&(count as u32).to_le_bytes());
        for record in records.clone() {
            block.extend_from_slice(&[0; 4]);
            block.extend_from_slice(&(record.len() as u32).to_le_bytes());
            block.extend_from_slice(&crc32c::crc32c(record).to_le_bytes());
        }
        records.for_each(|record| block.extend_from_slice(record));
        Self(block)
    }

    /// Bytes of the block.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives every record its offset, from `first` on.
    pub(super) fn place(self, at: ContextPartition, first: Offset, holes: &mut Holes) -> Placed {
        let mut block = self.0;
        let count = read_u32(&block, 0) as usize;
        let mut positions = Vec::with_capacity(count);
        let mut next = first;
        for entry in block[COUNT_BYTES..COUNT_BYTES + count * ENTRY_BYTES].chunks_exact_mut(ENTRY_BYTES) {
            let offset = RecordOffset(next.0 + holes.width());
            // An append has far fewer than 2^32 records, and holes are narrow.
            entry[..4].copy_from_slice(&((offset.0 - first.0) as u32).to_le_bytes());
            let checksum = placed_checksum(read_u32(entry, 8), at, offset);
            entry[8..].copy_from_slice(&checksum.to_le_bytes());
            next = offset.after();
            positions.push(offset);
        }
        Placed { block, positions, next: Offset(next.0 + holes.width()) }
    }
}

/// A row as it was stored: a block and the positions that it spans.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) first: Offset,
    pub(super) next: Offset,
    pub(super) block: &'a [u8],
}

impl Stored<'_> {
    /// Checks the block and copies the records from `from` on; nothing is copied if anything is wrong.
    pub(super) fn read(&self, at: ContextPartition, from: Offset, batch: &mut RawBatch) -> Result<(), Damage> {
        let entries = self.entries()?;
        let mut previous = self.first;
        let mut start = COUNT_BYTES + entries.len();
        let body = start;
        let mut skipped = 0;
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let offset = RecordOffset(self.first.0.saturating_add(u64::from(read_u32(entry, 0))));
            let end = start + read_u32(entry, 4) as usize;
            let damaged = |cause: &str| Damage { offset, cause: cause.into() };
            // `entries` has checked that all lengths together fit.
            let bytes = self.block.get(start..end).ok_or_else(|| damaged("record beyond its block"))?;
            if placed_checksum(crc32c::crc32c(bytes), at, offset) != read_u32(entry, 8) {
                return Err(damaged("checksum does not match"));
            }
            if offset.at() < previous || offset.after() > self.next {
                return Err(damaged("offset outside of its append"));
            }
            skipped += usize::from(offset.at() < from);
            previous = offset.after();
            start = end;
        }
        let mut start = body;
        let ranges = entries.chunks_exact(ENTRY_BYTES).map(|entry| {
            let range: Range<usize> = start..start + read_u32(entry, 4) as usize;
            start = range.end;
            (RecordOffset(self.first.0 + u64::from(read_u32(entry, 0))), range)
        });
        if skipped == 0 {
            batch.push_block(self.block, ranges);
        } else {
            ranges.skip(skipped).for_each(|(offset, range)| batch.push(offset, &self.block[range]));
        }
        Ok(())
    }

    /// The table of records, if the block has the size that it says.
    fn entries(&self) -> Result<&[u8], Damage> {
        let damaged = |cause: String| Damage { offset: RecordOffset(self.first.0), cause };
        let count = match self.block.first_chunk::<COUNT_BYTES>() {
            Some(count) => u32::from_le_bytes(*count) as usize,
            None => return Err(damaged(format!("block of {} bytes", self.block.len()))),
        };
        let entries = count
            .checked_mul(ENTRY_BYTES)
            .and_then(|bytes| self.block.get(COUNT_BYTES..COUNT_BYTES.checked_add(bytes)?))
            .filter(|entries| !entries.is_empty())
            .ok_or_else(|| damaged(format!("block of {} bytes for {count} records", self.block.len())))?;
        let records: usize = entries.chunks_exact(ENTRY_BYTES).map(|entry| read_u32(entry, 4) as usize).sum();
        if COUNT_BYTES + entries.len() + records != self.block.len() {
            return Err(damaged(format!("block of {} bytes for records of {records}", self.block.len())));
        }
        Ok(entries)
    }
}

fn placed_checksum(of_bytes: u32, at: ContextPartition, offset: RecordOffset) -> u32 {
    let mut place = [0; 11];
    place[0] = at.context.number;
    place[1..3].copy_from_slice(&at.partition.0.to_le_bytes());
    place[3..].copy_from_slice(&offset.0.to_le_bytes());
    crc32c::crc32c_append(of_bytes, &place)
}

/// Four bytes at `at`, which the caller has checked to be there.
fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
