use super::*;

#[test]
fn every_context_has_its_aggregates_and_they_stand_by_number() {
    assert_eq!(application().context_ids(), annals_schemas::contexts::ALL);
}
