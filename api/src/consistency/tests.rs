use annals_model::ids::{ContextId, Partition};
use annals_model::position::{ContextPartition, Offset};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const LOG: LogId = LogId(Uuid::from_u128(7));

fn tokens(secret: u8, log: LogId) -> ConsistencyTokens {
    ConsistencyTokens::new(&CursorKey::new([secret; 32]), log)
}

fn position() -> impl Strategy<Value = PositionVector> {
    let component = (any::<u8>(), any::<u16>(), any::<u64>());
    proptest::collection::vec(component, 0..20).prop_map(|components| {
        let mut position = PositionVector::default();
        for (number, partition, offset) in components {
            let context = ContextId { number, name: "any" };
            position.advance(ContextPartition { context, partition: Partition(partition) }, Offset(offset));
        }
        position
    })
}

proptest! {
    #[test]
    fn a_token_reads_back_as_its_position_at_every_node(position in position()) {
        let token = tokens(7, LOG).issue(&position);
        prop_assert_eq!(tokens(7, LOG).read(&token), Ok(position.clone()));
        prop_assert_eq!(tokens(7, LOG).issue(&position), token);
    }

    #[test]
    fn a_token_with_any_bits_flipped_is_refused(position in position(), flips in proptest::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let tokens = tokens(7, LOG);
        let sound = URL_SAFE_NO_PAD.decode(tokens.issue(&position)).unwrap();
        let mut bytes = sound.clone();
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        // Two flips of one bit are none.
        prop_assume!(bytes != sound);
        prop_assert_eq!(tokens.read(&URL_SAFE_NO_PAD.encode(bytes)), Err(ConsistencyTokenError::Malformed));
    }

    #[test]
    fn hostile_texts_are_refused_without_panic(text in ".{0,80}", bytes: Vec<u8>) {
        prop_assert!(tokens(7, LOG).read(&text).is_err());
        prop_assert!(tokens(7, LOG).read(&URL_SAFE_NO_PAD.encode(bytes)).is_err());
    }
}

#[test]
fn every_single_flipped_bit_and_every_cut_of_a_token_is_refused() {
    let tokens = tokens(7, LOG);
    let at = ContextPartition { context: ContextId { number: 3, name: "any" }, partition: Partition(2) };
    let sound = URL_SAFE_NO_PAD.decode(tokens.issue(&PositionVector::of(at, Offset(4_711)))).unwrap();
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(tokens.read(&URL_SAFE_NO_PAD.encode(bytes)).is_err(), "bit {bit}");
    }
    for length in 0..sound.len() {
        assert!(tokens.read(&URL_SAFE_NO_PAD.encode(&sound[..length])).is_err(), "the first {length} bytes");
    }
}

#[test]
fn a_token_of_another_log_or_key_or_form_is_refused() {
    let here = tokens(7, LOG);
    let other = LogId(Uuid::from_u128(8));
    let of_other = tokens(7, other).issue(&PositionVector::default());
    assert_eq!(here.read(&of_other), Err(ConsistencyTokenError::OtherLog { token: other, log: LOG }));
    let of_other_key = tokens(8, LOG).issue(&PositionVector::default());
    assert_eq!(here.read(&of_other_key), Err(ConsistencyTokenError::Malformed));
    // As they were once: form, log, components.
    let unsealed = [&[1][..], LOG.as_bytes(), &[3, 2, 5]].concat();
    assert_eq!(here.read(&URL_SAFE_NO_PAD.encode(unsealed)), Err(ConsistencyTokenError::Malformed));
}

#[test]
fn a_token_shows_no_offset() {
    let tokens = tokens(7, LOG);
    let at = ContextPartition { context: ContextId { number: 3, name: "any" }, partition: Partition(2) };
    let bytes = |offset| URL_SAFE_NO_PAD.decode(tokens.issue(&PositionVector::of(at, Offset(offset)))).unwrap();
    // All but the form differs, by one event.
    let (one, next) = (bytes(100), bytes(101));
    assert_eq!(one.len(), next.len());
    assert!(one.iter().zip(&next).skip(1).filter(|(one, next)| one == next).count() < one.len() / 4);
}
