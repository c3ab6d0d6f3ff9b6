//! Who is worked for, where there is more to do than can be done at a time?
//!
//! Every kind of work has places of its own ([`Places`]), so that one that gets no further takes nothing from the others.
//! Within a kind nobody can take everything: each partition or read model gets at most half of what the others leave free,
//! and a tenant in it leaves room for another one. The last places are for those that have few. So whoever comes finds room,
//! however much somebody else sends to a part that is dead.
//!
//! Whoever finds no room waits for it a short while: a client that is told off at once comes back at once, and the work of
//! telling it off is taken from those who could be answered. Room goes to the tenant, then the client, with the least under
//! way, and to the one among its requests that waits longest.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_model::ids::{Actor, TenantId};
use annals_model::position::ContextPartition;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use self::queue::Queue;
use crate::auth::Caller;
use crate::limits;
use crate::problem::{Code, Problem};

mod queue;

/// The budgets of one server, by kind of work. Health has none: it is answered under any load.
#[derive(Debug)]
pub(crate) struct Places {
    /// Commands at owners in this process.
    pub(crate) commands: Arc<Pool>,
    /// Aggregates, histories and operations at owners in this process.
    pub(crate) reads: Arc<Pool>,
    /// Queries at their store.
    pub(crate) queries: Arc<Pool>,
    /// Requests that only wait: for an owner elsewhere, or for a read model to come as far as a token.
    pub(crate) waits: Arc<Pool>,
    /// How the read models fare: asks the store and the log.
    pub(crate) overviews: Arc<Pool>,
    /// The registry's surface, which is open to anybody.
    pub(crate) registry: Arc<Pool>,
    /// Bodies that have not arrived whole, and large ones until they are answered; one place holds
    /// [`limits::BODY_PLACE_BYTES`].
    pub(crate) bodies: Arc<Pool>,
}

impl Places {
    /// For a server with so many connections. What can get stuck with one owner, one partition and the store, all
    /// together, leaves a good third of them to everything else.
    pub(crate) fn new(connections: usize) -> Self {
        let part = |of: usize| (connections / of).max(limits::PLACES_MIN);
        let commands = (connections * 3 / 8).clamp(limits::COMMANDS_MIN, limits::COMMANDS_MAX);
        let queue = part(8);
        Self {
            commands: Pool::new("commands", commands, queue),
            reads: Pool::new("reads of aggregates", part(8), queue),
            queries: Pool::new("queries", part(8), queue),
            waits: Pool::new("requests that wait", part(6), queue),
            overviews: Pool::new("overviews", limits::OVERVIEWS_MAX, limits::OVERVIEWS_MAX),
            registry: Pool::new("questions to the registry", limits::REGISTRY_REQUESTS_MAX, queue),
            bodies: Pool::new("bodies under way", part(2), queue),
        }
    }
}

/// Who asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    tenant: TenantId,
    /// Of the actor: which clients are one.
    client: u64,
}

impl Asker {
    /// Anybody, where nobody says who they are.
    pub(crate) const ANYBODY: Self = Self { tenant: TenantId(uuid::Uuid::nil()), client: 0 };

    /// An actor of a tenant.
    pub(crate) fn of(tenant: TenantId, actor: &Actor) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self { tenant, client: HASHER.hash_one(actor) }
    }
}

impl From<&Caller> for Asker {
    fn from(caller: &Caller) -> Self {
        Self::of(caller.tenant, &caller.actor)
    }
}

/// What a place is needed at: whatever can be slow or dead by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// All of the kind.
    Any,
    /// A partition, wherever its owner is.
    Partition(ContextPartition),
    /// A read model.
    ReadModel(&'static str),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Partition(at) => write!(f, " for partition {at}"),
            Self::ReadModel(name) => write!(f, " for read model {name}"),
        }
    }
}

/// The places of one kind of work.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Of what there is too much, where there is.
    what: &'static str,
    state: Mutex<State>,
}

/// Room for one request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    /// Nothing once it was given back otherwise.
    pool: Option<Arc<Pool>>,
    wanted: Wanted,
}

/// What is taken, by whom, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    asker: Asker,
    target: Target,
    places: usize,
}

/// The part of all places that is kept for targets with few.
const RESERVE: usize = 8;
/// The part of all places that is few.
const FEW: usize = 64;

#[derive(Debug)]
struct State {
    all: usize,
    free: usize,
    targets: HashMap<Target, usize>,
    tenants: HashMap<(TenantId, Target), usize>,
    clients: HashMap<Asker, usize>,
    queue: Queue,
}

impl Pool {
    /// With so many places, and as many requests that may wait for one.
    fn new(what: &'static str, places: usize, waiting_max: usize) -> Arc<Self> {
        let state = State {
            all: places,
            free: places,
            targets: HashMap::new(),
            tenants: HashMap::new(),
            clients: HashMap::new(),
            queue: Queue::new(waiting_max),
        };
        Arc::new(Self { what, state: Mutex::new(state) })
    }

    /// A place as soon as there is one for this asker and target, for as long as it is worth waiting.
    pub(crate) async fn take(
        self: &Arc<Self>,
        asker: Asker,
        target: Target,
        deadline: Instant,
    ) -> Result<Place, Problem> {
        self.take_many(1, asker, target, deadline).await
    }

    /// So many places at once.
    pub(crate) async fn take_many(
        self: &Arc<Self>,
        places: usize,
        asker: Asker,
        target: Target,
        deadline: Instant,
    ) -> Result<Place, Problem> {
        let wanted = Wanted { asker, target, places };
        let (granted, ticket) = {
            let mut state = self.state();
            if state.take(wanted) {
                return Ok(Place { pool: Some(Arc::clone(self)), wanted });
            }
            let (grant, granted) = oneshot::channel();
            (granted, state.queue.push(wanted, grant))
        };
        let _waits = Waits { pool: self, wanted, ticket };
        let patience = Instant::now() + Duration::from_millis(limits::PLACE_WAIT_MS);
        match timeout_at(deadline.min(patience), granted).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(self.refusal(target)),
        }
    }

    fn refusal(&self, target: Target) -> Problem {
        let detail = format!("too many {}{target} at a time; nothing was done, send it again", self.what);
        Problem::new(Code::Overloaded, detail)
    }

    /// Gives places back, and what is free now to those who wait.
    fn put_back(self: &Arc<Self>, wanted: Wanted) {
        let mut back = Some(wanted);
        loop {
            let next = {
                let mut state = self.state();
                if let Some(wanted) = back.take() {
                    state.give(wanted);
                }
                state.next()
            };
            let Some((wanted, grant)) = next else { return };
            if let Err(mut unwanted) = grant.send(Place { pool: Some(Arc::clone(self)), wanted }) {
                // Nobody is there for it any more. Not by dropping it: that would come back here, once for each of them.
                unwanted.pool = None;
                back = Some(wanted);
            }
        }
    }

    /// Places that nobody holds.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.state().free
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock leaves the counts half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// True if there is room, which is taken then.
    fn take(&mut self, wanted: Wanted) -> bool {
        let Wanted { asker, target, places } = wanted;
        let held = |count: Option<&usize>| count.copied().unwrap_or(0);
        let of_tenant = held(self.tenants.get(&(asker.tenant, target)));
        let is_room = match target {
            Target::Any => of_tenant + places <= self.free,
            Target::Partition(_) | Target::ReadModel(_) => {
                let of_target = held(self.targets.get(&target));
                // Half of what is free leaves room for the other targets, and the reserve for those that have few.
                let room = (self.free.saturating_sub(self.all / RESERVE) / 2).saturating_sub(of_target);
                let few = (self.all / FEW).max(1).min(self.free).saturating_sub(of_target);
                let room = room.max(few);
                places <= room && of_tenant + places <= 2 * room
            }
        };
        if !is_room {
            return false;
        }
        self.free -= places;
        *self.targets.entry(target).or_default() += places;
        *self.tenants.entry((asker.tenant, target)).or_default() += places;
        *self.clients.entry(asker).or_default() += places;
        true
    }

    fn give(&mut self, wanted: Wanted) {
        let Wanted { asker, target, places } = wanted;
        self.free += places;
        less(&mut self.targets, target, places);
        less(&mut self.tenants, (asker.tenant, target), places);
        less(&mut self.clients, asker, places);
    }

    /// The next who gets what it waits for.
    fn next(&mut self) -> Option<(Wanted, oneshot::Sender<Place>)> {
        let mut lanes: Vec<_> = self
            .queue
            .fronts()
            .map(|(wanted, ticket)| {
                let tenant = self.tenants.get(&(wanted.asker.tenant, wanted.target)).copied().unwrap_or(0);
                let client = self.clients.get(&wanted.asker).copied().unwrap_or(0);
                ((tenant, client, ticket), wanted)
            })
            .collect();
        lanes.sort_unstable_by_key(|(rank, _)| *rank);
        let wanted = lanes.into_iter().map(|(_, wanted)| wanted).find(|wanted| self.take(*wanted))?;
        let grant = self.queue.pop(wanted);
        debug_assert!(grant.is_some(), "a front has somebody waiting");
        grant.map(|grant| (wanted, grant))
    }
}

/// Subtracts, and forgets what has come to nothing: the maps hold no more than what is under way.
fn less<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: K, places: usize) {
    if let std::collections::hash_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() = count.get().saturating_sub(places);
        if *count.get() == 0 {
            count.remove();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.put_back(self.wanted);
        }
    }
}

/// Somebody waits: taken from the queue when they give up.
struct Waits<'a> {
    pool: &'a Pool,
    wanted: Wanted,
    ticket: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.pool.state().queue.remove(self.wanted, self.ticket);
    }
}

#[cfg(test)]
mod tests;
