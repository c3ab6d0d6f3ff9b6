use annals_model::ids::{Actor, TenantId, UserId};
use uuid::Uuid;

use super::*;

fn caller(number: u128) -> Caller {
    let id = Uuid::from_u128(number);
    Caller { tenant: TenantId(id), actor: Actor::User(UserId(id)), roles: Default::default() }
}

#[test]
fn a_token_is_remembered_until_its_time_is_over() {
    let verified = Verified::default();
    verified.insert("token", caller(1), 100, 0);
    assert_eq!(verified.get("token", 99), Some(caller(1)));
    assert_eq!(verified.get("token", 100), None);
}

#[test]
fn a_token_that_differs_anywhere_is_another_one() {
    let verified = Verified::default();
    verified.insert("head.claims.signature", caller(1), 100, 0);
    for other in ["head.claims.signaturf", "head.claims.", "head.claims.signature=", "head.Claims.signature", ""] {
        assert_eq!(verified.get(other, 0), None, "{other}");
    }
}

#[test]
fn no_more_tokens_are_remembered_than_there_is_room_for() {
    let verified = Verified::default();
    for number in 0..limits::TOKENS_VERIFIED_MAX {
        verified.insert(&format!("short-{number}"), caller(1), 10, 0);
    }
    verified.insert("long", caller(2), 1_000, 0);
    assert_eq!(verified.tokens().len(), 1, "full: all are forgotten");
    for number in 1..limits::TOKENS_VERIFIED_MAX {
        verified.insert(&format!("short-{number}"), caller(1), 10, 0);
    }
    verified.insert("newest", caller(3), 1_000, 10);
    assert_eq!(verified.tokens().len(), 2, "full: those whose time is over are forgotten first");
    assert_eq!(verified.get("long", 10), Some(caller(2)));
}
