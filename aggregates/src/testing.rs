//! Test kit of the domain: random commands of each aggregate (`<aggregate>/random.rs`), what they come to, and the recorded
//! histories.
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use annals_model::context::BoundedContext;
use annals_model::ids::{AggregateId, WorkspaceId};
use annals_model::testing::id;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{Union, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

pub mod golden;
mod simulation;

pub use self::simulation::{Logged, Simulation, Written};

/// What a command asks for, of whichever aggregate.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its full name, `portfolio.application.register`.
    pub name: &'static str,
    /// What it carries.
    pub payload: Value,
}

/// Random ones.
pub type Asks = BoxedStrategy<Ask>;

/// Of any of these, each as likely as the others.
pub fn any_of<const N: usize>(asks: [Asks; N]) -> Asks {
    Union::new(asks).boxed()
}

impl Ask {
    /// The aggregate's type, and the command's name in it.
    pub fn of(&self) -> (&'static str, &'static str) {
        let (aggregate, command) = self.name.rsplit_once('.').unwrap();
        (aggregate.rsplit_once('.').unwrap().1, command)
    }

    /// One of these, the same one for the same seed.
    pub fn one_of(asks: &Asks, seed: [u8; 32]) -> Self {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        asks.new_tree(&mut TestRunner::new_with_rng(Config::default(), rng)).unwrap().current()
    }
}

/// What random commands choose from: little, so that they meet.
#[derive(Clone, Debug)]
pub struct Pools {
    /// Names and whatever else is one line of text.
    pub names: Vec<String>,
    /// What commands point at, of every kind.
    pub ids: Vec<AggregateId>,
}

impl Default for Pools {
    fn default() -> Self {
        Self { names: ["a", "b", "c", " a "].map(str::to_owned).to_vec(), ids: (1..=3).map(id).collect() }
    }
}

impl Pools {
    /// A name.
    pub fn name(&self) -> impl Strategy<Value = String> + use<> {
        select(self.names.clone())
    }

    /// An id.
    pub fn id(&self) -> impl Strategy<Value = AggregateId> + use<> {
        select(self.ids.clone())
    }

    /// An id, or none; none where there are none.
    pub fn id_or_none(&self) -> impl Strategy<Value = Option<AggregateId>> + use<> {
        select(self.ids.iter().copied().map(Some).chain([None]).collect::<Vec<_>>())
    }
}

/// One command, and who gives it about what.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is asked for.
    pub ask: Ask,
    /// The aggregate.
    pub id: AggregateId,
    /// The workspace that the command names, where one is needed.
    pub workspace: WorkspaceId,
    /// Why.
    pub reason: Option<String>,
}

/// The refusals that random commands of a context must meet: those of its rules between aggregates.
pub fn rules(context: &str) -> impl Iterator<Item = &'static str> {
    random_of(context).rules.iter().copied()
}

/// What a context brings to its tests.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    /// Its commands.
    pub commands: fn(&Pools) -> Asks,
    /// Codes of refusals that they must meet.
    pub rules: &'static [&'static str],
}

fn random_of(context: &str) -> Random {
    let of_context = crate::RANDOM.iter().find(|(name, _)| *name == context);
    of_context.unwrap_or_else(|| panic!("there is no context {context}")).1
}

/// Random commands of one context.
pub fn steps(context: &str) -> BoxedStrategy<Vec<Step>> {
    let pools = Pools::default();
    let asks = (random_of(context).commands)(&pools);
    let reason = prop::option::of(select(vec!["because", " "]));
    let step = (asks, pools.id(), pools.id(), reason).prop_map(|(ask, id, workspace, reason)| Step {
        ask,
        id,
        workspace: WorkspaceId(workspace.0),
        reason: reason.map(str::to_owned),
    });
    prop::collection::vec(step, 1..80).boxed()
}

/// Simulations of a context, always the same ones in the same order.
pub fn samples(context: &BoundedContext) -> impl Iterator<Item = Simulation<'_>> {
    let (strategy, mut runner) = (steps(context.id().name), TestRunner::deterministic());
    std::iter::repeat_with(move || {
        let mut simulation = Simulation::new(context);
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        steps.iter().for_each(|step| simulation.ask(step).unwrap());
        simulation
    })
}
