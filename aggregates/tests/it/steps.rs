//! Random commands, from pools small enough that they meet: two names, three ids of each kind.

use annals_model::context::BoundedContext;
use annals_model::ids::{AggregateId, WorkspaceId};
use annals_model::testing::id;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::simulation::{Simulation, Step};

/// Random commands of one context.
pub(crate) fn steps(context: &str) -> BoxedStrategy<Vec<Step>> {
    let step = match context {
        "access" => prop_oneof![of("workspace", workspace()), of("membership", membership())].boxed(),
        "portfolio" => {
            prop_oneof![of("project", project()), of("application", application()), of("dependency", dependency()),]
                .boxed()
        }
        _ => panic!("context {context} has no random commands; add them here"),
    };
    prop::collection::vec(step, 1..80).boxed()
}

/// Simulations of a context, always the same ones in the same order.
pub(crate) fn samples(context: &BoundedContext) -> impl Iterator<Item = Simulation<'_>> {
    let (strategy, mut runner) = (steps(context.id().name), TestRunner::deterministic());
    std::iter::repeat_with(move || {
        let mut simulation = Simulation::new(context);
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        steps.iter().for_each(|step| simulation.ask(step).unwrap());
        simulation
    })
}

type Ask = (&'static str, Value);

fn of(aggregate: &'static str, asks: impl Strategy<Value = Ask> + 'static) -> BoxedStrategy<Step> {
    let reason = prop::option::of(select(vec!["because", " "]));
    (asks, ids(), ids(), reason)
        .prop_map(move |((command, payload), id, workspace, reason)| Step {
            aggregate,
            id,
            workspace: WorkspaceId(workspace.0),
            reason: reason.map(str::to_owned),
            command,
            payload,
        })
        .boxed()
}

fn ids() -> impl Strategy<Value = AggregateId> {
    (1..=3u128).prop_map(id)
}

fn names() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", " a "])
}

fn workspace() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => (names(), select(vec!["a", "b", "c"]))
            .prop_map(|(name, slug)| ("create", json!({"name": name, "slug": slug}))),
        2 => names().prop_map(|name| ("rename", json!({"name": name}))),
        2 => (1..3i64).prop_map(|days| ("set_retention", json!({"retention_days": days}))),
        2 => select(vec!["logical", "physical"]).prop_map(|isolation| ("set_isolation", json!({"isolation": isolation}))),
        1 => Just(("archive", json!({}))),
    ]
}

fn membership() -> impl Strategy<Value = Ask> {
    let role = || select(vec!["owner", "owner", "admin", "viewer"]);
    prop_oneof![
        2 => (ids(), role(), prop::option::of(names()))
            .prop_map(|(user, role, team)| ("add", json!({"user_id": user, "role": role, "team": team}))),
        2 => role().prop_map(|role| ("change_role", json!({"role": role}))),
        1 => Just(("remove", json!({}))),
    ]
}

fn project() -> impl Strategy<Value = Ask> {
    prop_oneof![
        names().prop_map(|name| ("create", json!({"name": name}))),
        names().prop_map(|name| ("rename", json!({"name": name}))),
        Just(("archive", json!({}))),
        Just(("restore", json!({}))),
    ]
}

fn application() -> impl Strategy<Value = Ask> {
    let grades = (1..=5, 1..=5, prop::option::of(names()));
    prop_oneof![
        3 => (select(vec!["a", "b", "c"]), prop::option::of(ids()), select(vec!["low", "critical"]))
            .prop_map(|(name, project, criticality)| {
                ("register", json!({"name": name, "project_id": project, "criticality": criticality}))
            }),
        2 => names().prop_map(|number| ("release_version", json!({"number": number}))),
        1 => grades.prop_map(|(likelihood, impact, note)| {
            ("assess_risk", json!({"likelihood": likelihood, "impact": impact, "note": note}))
        }),
        1 => any::<bool>().prop_map(|force| ("retire", json!({"force": force}))),
    ]
}

fn dependency() -> impl Strategy<Value = Ask> {
    prop_oneof![
        3 => (ids(), ids(), select(vec!["build", "data"]), prop::option::of(names())).prop_map(
            |(from, to, kind, requirement)| {
                let ends = json!({"from_application_id": from, "to_application_id": to});
                let Value::Object(mut payload) = ends else { unreachable!("an object, one line above") };
                payload.extend([("kind".to_owned(), kind.into()), ("requirement".to_owned(), requirement.into())]);
                ("declare", Value::Object(payload))
            }
        ),
        1 => Just(("withdraw", json!({}))),
    ]
}
