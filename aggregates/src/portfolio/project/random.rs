//! Random commands of projects.

use proptest::prelude::*;
use serde_json::json;

use crate::testing::{Ask, Asks, Pools};

/// Any of them.
pub fn any(pools: &Pools) -> Asks {
    let create = pools.name().prop_map(|name| Ask { name: "portfolio.project.create", payload: json!({"name": name}) });
    let rename = pools.name().prop_map(|name| Ask { name: "portfolio.project.rename", payload: json!({"name": name}) });
    prop_oneof![
        3 => create,
        3 => rename,
        2 => Just(Ask { name: "portfolio.project.archive", payload: json!({}) }),
        2 => Just(Ask { name: "portfolio.project.restore", payload: json!({}) }),
    ]
    .boxed()
}
