//! What clients ask for, from a seed alone: the same seed is the same questions, whatever is answered.

use std::sync::Arc;

use annals_aggregates::access::workspace;
use annals_aggregates::portfolio::{application, dependency, project};
use annals_aggregates::testing::{Ask, Asks, Pools};
use annals_model::ids::{AggregateId, Scope, TenantId, WorkspaceId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use uuid::Uuid;

use super::history::AggregateName;

/// Applications and projects of each workspace that everybody works on.
const SHARED_MAX: usize = 6;
/// Names that many want and one gets.
const CONTENDED_NAMES: usize = 12;

/// Where clients work.
#[derive(Clone, Debug)]
pub struct Place {
    /// The tenant.
    pub tenant: TenantId,
    /// The workspace.
    pub workspace: WorkspaceId,
}

/// One command, as it is sent at every try.
#[derive(Clone, Debug)]
pub struct Command {
    /// The client request id.
    pub request: Arc<str>,
    /// Its full name, `portfolio.application.register`.
    pub name: &'static str,
    /// The tenant whose it is.
    pub tenant: TenantId,
    /// The workspace, where the command names one.
    pub workspace: Option<WorkspaceId>,
    /// Its aggregate.
    pub aggregate: AggregateId,
    /// True if it is to name the version that its client saw last.
    pub expects_last_seen: bool,
    /// What it carries.
    pub payload: Value,
}

/// One thing that a client does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends a command until it is answered for good.
    Send(Command),
    /// Sends one of its own earlier commands again, chosen by this number, as it was.
    Again(u64),
    /// The same with another body under the same id.
    AgainOtherwise(u64),
    /// Asks the owner for one of the aggregates that it knows.
    Read {
        /// The tenant.
        tenant: TenantId,
        /// Its type, `portfolio.application`.
        of: &'static str,
        /// Its workspace.
        workspace: WorkspaceId,
        aggregate: AggregateId,
    },
    /// Asks a read model for one of its own acknowledged writes, chosen by this number, with that write's token.
    ReadBack(u64),
}

/// The endless work of one client.
#[derive(Debug)]
pub struct Workload {
    random: StdRng,
    places: Arc<[Place]>,
    /// Begins every id that this client makes.
    label: String,
    sent: u64,
    /// Applications that it registered itself.
    own: Vec<(Place, AggregateId)>,
    /// It registers applications, and does nothing else.
    registers: bool,
}

impl Command {
    /// Its aggregate among all.
    pub fn aggregate_name(&self) -> AggregateName {
        let workspace = self.workspace.unwrap_or(WorkspaceId::NIL);
        let of = self.name.rsplit_once('.').map_or(self.name, |(of, _)| of);
        AggregateName { about: Scope { tenant: self.tenant, workspace }, of: of.into(), id: self.aggregate }
    }
}

/// An aggregate that everybody knows without having been told: the same id in every workspace, and for every type.
pub fn shared_aggregate(number: usize) -> AggregateId {
    AggregateId(Uuid::from_u128(0x5a << 64 | number as u128))
}

impl Workload {
    /// The work of client `client` in the run with this seed; `label` makes its ids no other run's.
    pub fn new(seed: u64, client: u64, label: &str, places: Arc<[Place]>) -> Self {
        let random = StdRng::seed_from_u64(seed ^ client.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { random, places, label: format!("{label}-{client}"), sent: 0, own: Vec::new(), registers: false }
    }

    /// Registers applications for ever, most of them new ones.
    pub fn registering(seed: u64, client: u64, label: &str, places: Arc<[Place]>) -> Self {
        Self { registers: true, ..Self::new(seed, client, label, places) }
    }

    /// One of the random commands of an aggregate, with this text and these ids in it.
    fn command(
        &mut self,
        place: &Place,
        aggregate: AggregateId,
        (random, text, ids): (fn(&Pools) -> Asks, String, Vec<AggregateId>),
    ) -> Step {
        let asks = random(&Pools { names: vec![text], ids });
        let Ask { name, payload } = Ask::one_of(&asks, self.random.random());
        self.sent += 1;
        Step::Send(Command {
            request: format!("{}-{}", self.label, self.sent).into(),
            name,
            tenant: place.tenant,
            workspace: (!name.starts_with("access.workspace")).then_some(place.workspace),
            aggregate,
            expects_last_seen: !name.ends_with("register") && self.random.random_ratio(2, 5),
            payload,
        })
    }

    /// An application that is there, maybe.
    fn application(&mut self) -> (Place, AggregateId) {
        match self.own.choose(&mut self.random) {
            Some(own) if self.random.random_bool(0.5) => own.clone(),
            _ => {
                let place = self.place();
                let number = self.random.random_range(0..SHARED_MAX);
                let id = shared_aggregate(number);
                (place, id)
            }
        }
    }

    fn place(&mut self) -> Place {
        self.places[self.random.random_range(0..self.places.len())].clone()
    }

    /// A name that is this client's alone, or one that others want as well.
    fn name(&mut self) -> String {
        match self.random.random_bool(0.6) {
            true => format!("{}-{}", self.label, self.sent + 1),
            false => format!("wanted-{}", self.random.random_range(0..CONTENDED_NAMES)),
        }
    }

    fn register(&mut self) -> Step {
        let name = self.name();
        let (place, id) = match self.random.random_bool(0.7) {
            true => {
                let place = self.place();
                let own = AggregateId(Uuid::from_u128(self.random.random()));
                self.own.push((place.clone(), own));
                (place, own)
            }
            false => {
                let place = self.place();
                let number = self.random.random_range(0..SHARED_MAX);
                let id = shared_aggregate(number);
                (place, id)
            }
        };
        self.command(&place, id, (application::random::register, name, vec![]))
    }

    fn project(&mut self) -> Step {
        let place = self.place();
        let number = self.random.random_range(0..SHARED_MAX);
        let id = shared_aggregate(number);
        let name = self.name();
        self.command(&place, id, (project::random::any, name, vec![]))
    }

    fn declare(&mut self) -> Step {
        let place = self.place();
        // Of the same workspace, so that it can be accepted.
        let own = self.own.iter().filter(|(at, _)| at.workspace == place.workspace).map(|(_, id)| *id);
        let ends = own.chain((0..SHARED_MAX).map(shared_aggregate)).collect();
        let id = AggregateId(Uuid::from_u128(self.random.random()));
        self.command(&place, id, (dependency::random::declare, "^1".to_owned(), ends))
    }

    fn change(&mut self) -> Step {
        let (place, id) = self.application();
        let number = format!("1.{}", self.random.random_range(0..500));
        self.command(&place, id, (application::random::change, number, vec![]))
    }

    fn rename_workspace(&mut self) -> Step {
        let place = self.place();
        let id = AggregateId(place.workspace.0);
        let name = format!("workspace {}", self.random.random_range(0..1_000));
        self.command(&place, id, (workspace::random::rename, name, vec![]))
    }

    fn read(&mut self) -> Step {
        let (of, (place, aggregate)) = match self.random.random_bool(0.8) {
            true => ("portfolio.application", self.application()),
            false => {
                let place = self.place();
                let number = self.random.random_range(0..SHARED_MAX);
                let id = shared_aggregate(number);
                ("portfolio.project", (place, id))
            }
        };
        Step::Read { tenant: place.tenant, of, workspace: place.workspace, aggregate }
    }
}

impl Iterator for Workload {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        Some(match self.random.random_range(0..100) {
            _ if self.registers => self.register(),
            0..22 => self.register(),
            22..46 => self.change(),
            46..54 => self.project(),
            54..63 => self.declare(),
            63..66 => self.rename_workspace(),
            66..74 => Step::Again(self.random.random()),
            74..78 => Step::AgainOtherwise(self.random.random()),
            78..90 => self.read(),
            _ => Step::ReadBack(self.random.random()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, client: u64) -> Vec<String> {
        let places: Arc<[Place]> = (1..=3)
            .map(|n| Place { tenant: TenantId(Uuid::from_u128(1)), workspace: WorkspaceId(Uuid::from_u128(n)) })
            .collect();
        Workload::new(seed, client, "run", places).take(400).map(|step| format!("{step:?}")).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_work_and_another_one_is_not() {
        assert_eq!(steps(1, 1), steps(1, 1));
        assert_ne!(steps(1, 1), steps(1, 2));
        assert_ne!(steps(1, 1), steps(2, 1));
    }

    #[test]
    fn the_work_reaches_every_kind_of_step_and_command() {
        let all = steps(7, 3).concat();
        for needed in [
            "Again(",
            "AgainOtherwise(",
            "Read {",
            "ReadBack(",
            "register",
            "release_version",
            "assess_risk",
            "retire",
            "project.create",
            "project.rename",
            "project.archive",
            "project.restore",
            "declare",
            "workspace.rename",
            "expects_last_seen: true",
            "wanted-",
        ] {
            assert!(all.contains(needed), "{needed} is never asked for");
        }
    }
}
