use proptest::prelude::*;

use super::*;

fn vector() -> impl Strategy<Value = PositionVector> {
    proptest::collection::btree_map(
        (any::<u8>(), any::<u16>().prop_map(Partition)),
        any::<u64>().prop_map(Offset),
        0..20,
    )
    .prop_map(|components| PositionVector { components })
}

proptest! {
    #[test]
    fn a_vectors_bytes_read_back_as_the_vector(vector in vector()) {
        prop_assert_eq!(PositionVector::from_bytes(&vector.to_bytes()), Some(vector));
    }

    #[test]
    fn hostile_bytes_are_no_vector_and_no_panic(bytes: Vec<u8>) {
        let _ = PositionVector::from_bytes(&bytes);
    }

    #[test]
    fn a_merged_vector_covers_both(a in vector(), b in vector()) {
        let mut merged = a.clone();
        merged.merge(&b);
        prop_assert!(merged.covers(&a, |_| true) && merged.covers(&b, |_| true));
    }
}
