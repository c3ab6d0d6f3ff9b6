use annals_model::ids::{ContextId, Partition};
use annals_model::position::{ContextPartition, Offset, RecordOffset};
use proptest::prelude::*;

use super::{Placed, Stored, Unplaced};
use crate::log::holes::Holes;
use crate::log::{AppendBatch, RawBatch};

fn at(partition: u16) -> ContextPartition {
    ContextPartition { context: ContextId { number: 9, name: "things" }, partition: Partition(partition) }
}

fn placed(records: &[Vec<u8>], first: Offset, holes_seed: Option<u64>) -> Placed {
    let mut batch = AppendBatch::default();
    records.iter().for_each(|record| batch.push(|out| out.extend_from_slice(record)));
    Unplaced::new(&batch).place(at(1), first, &mut Holes::new(holes_seed))
}

fn read(placed: &Placed, first: Offset, from: Offset) -> Vec<(RecordOffset, Vec<u8>)> {
    let mut batch = RawBatch::default();
    Stored { first, next: placed.next, block: &placed.block }.read(at(1), from, &mut batch).unwrap();
    batch.iter().map(|(offset, bytes)| (offset, bytes.to_vec())).collect()
}

proptest! {
    #[test]
    fn a_block_is_read_back_from_any_offset(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..20),
        first in 0u64..1 << 60,
        holes_seed in any::<Option<u64>>(),
    ) {
        let first = Offset(first);
        let placed = placed(&records, first, holes_seed);
        let all: Vec<_> = placed.positions.iter().copied().zip(records).collect();
        prop_assert_eq!(&read(&placed, first, Offset::START), &all);
        for (index, (offset, _)) in all.iter().enumerate() {
            prop_assert_eq!(&read(&placed, first, offset.at())[..], &all[index..]);
            prop_assert_eq!(&read(&placed, first, offset.after())[..], &all[index + 1..]);
        }
        prop_assert!(placed.positions.last().unwrap().after() <= placed.next);
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..20, next in any::<u64>()) {
        let mut batch = RawBatch::default();
        let _ = Stored { first: Offset(3), next: Offset(next), block: &bytes }.read(at(1), Offset::START, &mut batch);
        // With a count that fits, more of it is looked at.
        let mut bytes = bytes;
        bytes.splice(0..bytes.len().min(4), count.to_le_bytes());
        let stored = Stored { first: Offset(u64::MAX - 1), next: Offset(next), block: &bytes };
        let _ = stored.read(at(1), Offset::START, &mut batch);
    }

    #[test]
    fn a_flipped_bit_is_damage(index in any::<prop::sample::Index>(), bit in 0..8) {
        let mut placed = placed(&[b"one".to_vec(), b"two and three".to_vec()], Offset(5), None);
        let index = index.index(placed.block.len());
        placed.block[index] ^= 1u8 << bit;
        let stored = Stored { first: Offset(5), next: placed.next, block: &placed.block };
        let mut batch = RawBatch::default();
        prop_assert!(stored.read(at(1), Offset::START, &mut batch).is_err());
        prop_assert!(batch.is_empty(), "nothing of a damaged block is delivered");
    }
}

#[test]
fn a_block_in_another_place_is_damage() {
    let placed = placed(&[b"one".to_vec()], Offset(5), None);
    let mut batch = RawBatch::default();
    let moved = Stored { first: Offset(6), next: Offset(7), block: &placed.block };
    assert_eq!(moved.read(at(1), Offset::START, &mut batch).unwrap_err().cause, "checksum does not match");
    let stored = Stored { first: Offset(5), next: Offset(6), block: &placed.block };
    assert_eq!(stored.read(at(2), Offset::START, &mut batch).unwrap_err().cause, "checksum does not match");
    stored.read(at(1), Offset::START, &mut batch).unwrap();
}
