//! The engine writes its own records by hand; their released schemas say the same.

use annals_model::engine_record::{ACCEPTED_SCHEMA, ACCEPTED_TYPE, CLAIM_SCHEMA, Claim};
use annals_model::envelope::put_frame;
use annals_model::event::Payload;
use annals_model::time::Timestamp;
use annals_schemas::{CATALOGUE, engine};

#[test]
fn the_engines_ids_are_those_of_its_schema_files() {
    assert_eq!(engine::Claim::SCHEMA, CLAIM_SCHEMA);
    assert_eq!((engine::Accepted::SCHEMA, engine::Accepted::EVENT_TYPE), (ACCEPTED_SCHEMA, ACCEPTED_TYPE));
    assert!(CATALOGUE.get(CLAIM_SCHEMA).is_some() && CATALOGUE.get(ACCEPTED_SCHEMA).is_some());
}

#[test]
fn a_claim_is_written_as_its_schema_says() {
    let (owner_id, address, claimed_at) = ("owner-1", "10.0.0.1:80", Timestamp(1_768_824_000_000_001));
    let mut by_hand = Vec::new();
    Claim { owner_id, address, claimed_at }.encode(&mut by_hand);

    let mut generated = Vec::new();
    put_frame(&mut generated, CLAIM_SCHEMA);
    engine::Claim { owner_id: owner_id.into(), address: address.into(), claimed_at }.encode(&mut generated);
    assert_eq!(by_hand, generated);
    assert_eq!(Claim::decode(&generated), Ok(Some(Claim { owner_id, address, claimed_at })));
}

#[test]
fn an_accepted_record_is_an_envelope_and_nothing_else() {
    let mut payload = Vec::new();
    engine::Accepted {}.encode(&mut payload);
    assert!(payload.is_empty());
}
