//! Properties of every aggregate, and the proof that they would notice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_aggregates::access::membership::Membership;
use annals_aggregates::testing::{Ask, Simulation, Step, rules, samples, steps};
use annals_aggregates::{access, contexts};
use annals_model::aggregate::{Aggregate, Context, Events, ScopeKind};
use annals_model::context::{BoundedContext, ErasedAggregate};
use annals_model::envelope::SchemaId;
use annals_model::ids::WorkspaceId;
use annals_model::testing::id;
use annals_schemas::portfolio::project;
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::payloads::{payloads, released};

fn replays(context: &BoundedContext, steps: &[Step]) -> Result<(), String> {
    let mut simulation = Simulation::new(context);
    steps.iter().try_for_each(|step| simulation.ask(step))
}

proptest! {
    #[test]
    fn a_workspace_that_had_an_owner_keeps_one(steps in steps("access")) {
        let context = access::context();
        let mut simulation = Simulation::new(&context);
        let mut owned = BTreeSet::new();
        for step in &steps {
            simulation.ask(step).map_err(TestCaseError::fail)?;
            let now = owned_workspaces(&simulation);
            prop_assert!(owned.is_subset(&now), "{owned:?} had owners before {step:?}, and only {now:?} after it");
            owned = now;
        }
    }
}

#[test]
fn every_context_decides_alike_and_replays_to_the_same_state() {
    for context in contexts() {
        TestRunner::default()
            .run(&steps(context.id().name), |steps| replays(&context, &steps).map_err(TestCaseError::fail))
            .unwrap_or_else(|error| panic!("{}: {error}", context.id()));
    }
}

fn owned_workspaces(simulation: &Simulation<'_>) -> BTreeSet<String> {
    let members = simulation.world.iter().filter(|(aggregate_type, ..)| *aggregate_type == Membership::TYPE);
    members
        .map(|(_, _, state)| state.to_json())
        .filter(|state| state["role"] == "owner" && state["state"] == "active")
        .map(|state| state["workspace_id"].to_string())
        .collect()
}

#[test]
fn the_random_commands_reach_every_event_and_the_rules_between_aggregates() {
    for context in contexts() {
        let (mut refusals, mut events) = (BTreeSet::new(), BTreeSet::new());
        for simulation in samples(&context).take(200) {
            events.extend(simulation.histories.values().flatten().map(|event| event.event_type));
            refusals.extend(simulation.refusals);
        }
        for rule in rules(context.id().name) {
            assert!(refusals.contains(rule), "no random command of {} was refused for {rule}", context.id());
        }
        for kind in context.aggregates().flat_map(|aggregate| aggregate.event_kinds()) {
            assert!(
                events.contains(kind.event_type),
                "no random command led to {}; see its random.rs",
                kind.event_type
            );
        }
    }
}

/// Folds any events in any order, and looks at the state as the engine does.
fn folds(kind: &dyn ErasedAggregate, events: &[(SchemaId, Vec<u8>)]) {
    let mut state = kind.initial();
    for (schema, payload) in events {
        kind.evolve(&mut state, *schema, payload).unwrap();
        assert_ne!(state.to_json(), serde_json::Value::Null, "{state:?} cannot be shown");
        let _ = (kind.unique_keys(&state), kind.references(&state));
    }
}

#[test]
fn any_released_events_of_any_aggregate_fold_in_any_order() {
    for context in contexts() {
        for kind in context.aggregates() {
            let one = Union::new(released(kind).map(|schema| (Just(schema.id), payloads(schema))));
            let events = prop::collection::vec(one, 0..20);
            TestRunner::default()
                .run(&events, |events| {
                    folds(kind, &events);
                    Ok(())
                })
                .unwrap_or_else(|error| panic!("{}: {error}", kind.aggregate_type()));
        }
    }
}

/// A project whose fold and decisions look at the world outside: what the properties are there to catch.
#[derive(Clone, Debug, Default, Serialize)]
struct Impure<const IN_FOLD: bool> {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ImpureCommand {
    Create {},
}

static OUTSIDE: AtomicUsize = AtomicUsize::new(0);

impl<const IN_FOLD: bool> Aggregate for Impure<IN_FOLD> {
    const SCOPE: ScopeKind = ScopeKind::Workspace;
    const CREATED_BY: &'static [&'static str] = &["create"];
    type Command = ImpureCommand;
    type Event = project::Event;
    type Rejection = annals_aggregates::portfolio::project::Rejection;

    fn decide(&self, ImpureCommand::Create {}: ImpureCommand, _: &Context<'_, Self>) -> Events<Self> {
        let name = if IN_FOLD { String::new() } else { OUTSIDE.fetch_add(1, Ordering::Relaxed).to_string() };
        Ok(vec![project::Created { name }.into()])
    }

    fn evolve(&mut self, event: &project::Event) {
        if let project::Event::Created(created) = event {
            self.name.clone_from(&created.name);
        }
        if IN_FOLD {
            self.name = OUTSIDE.fetch_add(1, Ordering::Relaxed).to_string();
        }
    }
}

fn caught<const IN_FOLD: bool>() -> String {
    let context = BoundedContext::new(annals_schemas::contexts::PORTFOLIO).with::<Impure<IN_FOLD>>();
    let ask = Ask { name: "portfolio.project.create", payload: json!({}) };
    let step = Step { ask, id: id(1), workspace: WorkspaceId::NIL, reason: None };
    replays(&context, &[step]).unwrap_err()
}

#[test]
fn a_decision_that_looks_outside_is_caught() {
    assert!(caught::<false>().contains("first and"), "{}", caught::<false>());
}

#[test]
fn a_fold_that_looks_outside_is_caught() {
    caught::<true>();
}
