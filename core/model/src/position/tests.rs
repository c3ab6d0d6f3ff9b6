use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const LOG: LogId = LogId(Uuid::from_u128(7));

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
    fn a_token_reads_back_as_its_vector(vector in vector()) {
        prop_assert_eq!(PositionVector::from_token(&vector.to_token(LOG), LOG), Ok(vector));
    }

    #[test]
    fn hostile_tokens_are_refused_without_panic(text in ".{0,80}", bytes: Vec<u8>) {
        let _ = PositionVector::from_token(&text, LOG);
        let _ = PositionVector::from_token(&URL_SAFE_NO_PAD.encode(bytes), LOG);
    }

    #[test]
    fn a_merged_vector_covers_both(a in vector(), b in vector()) {
        let mut merged = a.clone();
        merged.merge(&b);
        prop_assert!(merged.covers(&a, |_| true) && merged.covers(&b, |_| true));
    }
}

#[test]
fn a_token_of_another_log_is_refused() {
    let other = LogId(Uuid::from_u128(8));
    let token = PositionVector::default().to_token(other);
    assert_eq!(PositionVector::from_token(&token, LOG), Err(TokenError::OtherLog { token: other, log: LOG }));
}
