//! Random commands of workspaces.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::testing::{Ask, Asks, Pools};

/// Any of them.
pub fn any(pools: &Pools) -> Asks {
    let create = (pools.name(), select(vec!["a", "b", "c"]))
        .prop_map(|(name, slug)| Ask { name: "access.workspace.create", payload: json!({"name": name, "slug": slug}) });
    let set_retention = (1..3i64)
        .prop_map(|days| Ask { name: "access.workspace.set_retention", payload: json!({"retention_days": days}) });
    let set_isolation = select(vec!["logical", "physical"])
        .prop_map(|isolation| Ask { name: "access.workspace.set_isolation", payload: json!({"isolation": isolation}) });
    prop_oneof![
        4 => create,
        2 => rename(pools),
        2 => set_retention,
        2 => set_isolation,
        1 => Just(Ask { name: "access.workspace.archive", payload: json!({}) }),
    ]
    .boxed()
}

/// Another name.
pub fn rename(pools: &Pools) -> Asks {
    pools.name().prop_map(|name| Ask { name: "access.workspace.rename", payload: json!({"name": name}) }).boxed()
}
