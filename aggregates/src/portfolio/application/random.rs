//! Random commands of applications.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::testing::{Ask, Asks, Pools};

/// Any of them.
pub fn any(pools: &Pools) -> Asks {
    prop_oneof![3 => register(pools), 4 => change(pools)].boxed()
}

/// A new one, in one of the projects or in none.
pub fn register(pools: &Pools) -> Asks {
    (pools.name(), pools.id_or_none(), select(vec!["low", "critical"]))
        .prop_map(|(name, project, criticality)| {
            let payload = json!({"name": name, "project_id": project, "criticality": criticality});
            Ask { name: "portfolio.application.register", payload }
        })
        .boxed()
}

/// Anything that happens to one that is there.
pub fn change(pools: &Pools) -> Asks {
    let release = pools
        .name()
        .prop_map(|number| Ask { name: "portfolio.application.release_version", payload: json!({"number": number}) });
    let assess = (1..=5, 1..=5, prop::option::of(pools.name())).prop_map(|(likelihood, impact, note)| {
        let payload = json!({"likelihood": likelihood, "impact": impact, "note": note});
        Ask { name: "portfolio.application.assess_risk", payload }
    });
    let retire = proptest::bool::ANY
        .prop_map(|force| Ask { name: "portfolio.application.retire", payload: json!({"force": force}) });
    prop_oneof![6 => release, 3 => assess, 2 => retire].boxed()
}
