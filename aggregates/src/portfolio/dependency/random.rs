//! Random commands of dependencies.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::testing::{Ask, Asks, Pools};

/// Any of them.
pub fn any(pools: &Pools) -> Asks {
    prop_oneof![
        3 => declare(pools),
        1 => Just(Ask { name: "portfolio.dependency.withdraw", payload: json!({}) }),
    ]
    .boxed()
}

/// Between two of the applications, or from one to itself.
pub fn declare(pools: &Pools) -> Asks {
    (pools.id(), pools.id(), select(vec!["build", "data"]), prop::option::of(pools.name()))
        .prop_map(|(from, to, kind, requirement)| {
            let ends =
                json!({"from_application_id": from, "to_application_id": to, "kind": kind, "requirement": requirement});
            Ask { name: "portfolio.dependency.declare", payload: ends }
        })
        .boxed()
}
