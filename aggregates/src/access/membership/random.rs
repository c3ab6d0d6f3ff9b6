//! Random commands of memberships.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::testing::{Ask, Asks, Pools};

/// Any of them; often about owners, of whom the last one must stay.
pub fn any(pools: &Pools) -> Asks {
    let role = || select(vec!["owner", "owner", "admin", "viewer"]);
    let add = (pools.id(), role(), prop::option::of(pools.name())).prop_map(|(user, role, team)| Ask {
        name: "access.membership.add",
        payload: json!({"user_id": user, "role": role, "team": team}),
    });
    let change_role =
        role().prop_map(|role| Ask { name: "access.membership.change_role", payload: json!({"role": role}) });
    prop_oneof![
        2 => add,
        2 => change_role,
        1 => Just(Ask { name: "access.membership.remove", payload: json!({}) }),
    ]
    .boxed()
}
