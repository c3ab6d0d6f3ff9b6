//! What goes wrong and when, from a seed alone.

use std::collections::BTreeMap;
use std::fmt;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// What can be struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// An API node, by number.
    Node(usize),
    /// A projector, by number.
    Projector(usize),
    /// A broker, by number.
    Broker(usize),
    /// The database.
    Postgres,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SIGKILL, and a start some time later.
    Kill,
    /// SIGSTOP, and SIGCONT before anybody else has noticed.
    Pause,
    /// SIGSTOP, and SIGCONT when others have taken over; of the database, up to a minute later.
    LongPause,
    /// SIGTERM, and a start some time later: it leaves, and joins again.
    Leave,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is struck.
    pub part: Part,
    pub kind: Kind,
    /// When it begins, milliseconds.
    pub from_ms: u64,
    /// When it ends, milliseconds.
    pub until_ms: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, kind, from_ms, until_ms } = self;
        write!(f, "{kind:?} {part:?} {from_ms}–{until_ms} ms")
    }
}

/// How many of each part there are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// API nodes.
    pub nodes: usize,
    /// Projectors.
    pub projectors: usize,
    /// Brokers.
    pub brokers: usize,
}

/// Faults of one run, by when they begin, and when all is over.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The faults.
    pub faults: Vec<Fault>,
    /// How long clients work, milliseconds; every fault has ended by then.
    pub work_ms: u64,
}

/// Before the first fault, and behind the last one, milliseconds.
const QUIET_MS: u64 = 300;
/// When the last fault begins, milliseconds.
const LAST_BEGINS_MS: u64 = 2_200;
/// Longest time that the database stands still, milliseconds.
const OUTAGE_MS_MAX: u64 = 60_000;
/// Tells the choice of outages from the choice of faults, which has the same seed.
const OUTAGES: u64 = 0x6f75_7461_6765_7321;
/// Session timeout of the nodes' group, milliseconds: whoever stands still longer is put out.
const SESSION_MS: u64 = 6_000;

impl Schedule {
    /// The schedule of this seed.
    pub fn new(seed: u64, shape: Shape) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..random.random_range(1..=4) {
            let fault = fault(&mut random, shape);
            if faults.iter().all(|other| are_apart(other, &fault)) {
                faults.push(fault);
            }
        }
        Self::of(faults)
    }

    /// The same, where the database stands still for long in every fourth schedule: for seconds mostly, in one of
    /// twenty for a whole minute.
    pub fn with_outages(seed: u64, shape: Shape) -> Self {
        let Self { mut faults, .. } = Self::new(seed, shape);
        let mut random = StdRng::seed_from_u64(seed ^ OUTAGES);
        if random.random_ratio(1, 4) {
            let from_ms = random.random_range(QUIET_MS..LAST_BEGINS_MS);
            let lasts_ms = match random.random_range(0..10) {
                0..5 => random.random_range(2_000..12_000),
                5..8 => random.random_range(12_000..40_000),
                _ => OUTAGE_MS_MAX,
            };
            faults.retain(|fault| fault.part != Part::Postgres);
            faults.push(Fault { part: Part::Postgres, kind: Kind::LongPause, from_ms, until_ms: from_ms + lasts_ms });
        }
        Self::of(faults)
    }

    /// True if the database stands still for long in it.
    pub fn has_outage(&self) -> bool {
        self.faults.iter().any(|fault| (fault.part, fault.kind) == (Part::Postgres, Kind::LongPause))
    }

    fn of(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.from_ms);
        let last = faults.iter().map(|fault| fault.until_ms).max().unwrap_or_default();
        Self { faults, work_ms: last + QUIET_MS }
    }

    /// How many faults of each kind.
    pub fn count(&self, into: &mut BTreeMap<String, u64>) {
        for fault in &self.faults {
            let part = match fault.part {
                Part::Node(_) => "node",
                Part::Projector(_) => "projector",
                Part::Broker(_) => "broker",
                Part::Postgres => "postgres",
            };
            *into.entry(format!("{part} {:?}", fault.kind)).or_default() += 1;
        }
    }
}

/// Different things, and never two brokers at a time: with two of three gone nobody can write, which is no news.
fn are_apart(one: &Fault, other: &Fault) -> bool {
    let brokers = matches!((one.part, other.part), (Part::Broker(_), Part::Broker(_)));
    one.part != other.part && !brokers
}

fn fault(random: &mut StdRng, shape: Shape) -> Fault {
    let part = match random.random_range(0..100) {
        0..48 => Part::Node(random.random_range(0..shape.nodes)),
        48..68 => Part::Projector(random.random_range(0..shape.projectors)),
        68..86 => Part::Broker(random.random_range(0..shape.brokers)),
        _ => Part::Postgres,
    };
    let kinds: &[Kind] = match part {
        Part::Node(_) => &[Kind::Kill, Kind::Kill, Kind::Pause, Kind::Pause, Kind::LongPause, Kind::Leave],
        Part::Projector(_) => &[Kind::Kill, Kind::Pause, Kind::Pause, Kind::Leave],
        Part::Broker(_) | Part::Postgres => &[Kind::Kill, Kind::Pause],
    };
    let kind = kinds.choose(random).copied().unwrap_or(Kind::Kill);
    let from_ms = random.random_range(QUIET_MS..LAST_BEGINS_MS);
    let lasts_ms = match kind {
        Kind::Kill | Kind::Leave => random.random_range(50..1_500),
        Kind::Pause => random.random_range(20..1_800),
        Kind::LongPause => SESSION_MS + random.random_range(300..1_500),
    };
    Fault { part, kind, from_ms, until_ms: from_ms + lasts_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { nodes: 3, projectors: 2, brokers: 3 };

    #[test]
    fn the_same_seed_is_the_same_schedule() {
        assert_eq!(Schedule::new(5, SHAPE).faults, Schedule::new(5, SHAPE).faults);
    }

    #[test]
    fn schedules_strike_everything_in_every_way_and_never_two_brokers() {
        let mut counted = BTreeMap::new();
        for seed in 0..500 {
            let schedule = Schedule::new(seed, SHAPE);
            assert!(!schedule.faults.is_empty());
            assert!(
                schedule.faults.iter().all(|fault| fault.from_ms < fault.until_ms && fault.until_ms < schedule.work_ms)
            );
            let brokers = schedule.faults.iter().filter(|fault| matches!(fault.part, Part::Broker(_))).count();
            assert!(brokers <= 1, "{:?}", schedule.faults);
            schedule.count(&mut counted);
        }
        assert_eq!(counted.len(), 4 + 3 + 2 + 2, "{counted:?}");
    }

    #[test]
    fn outages_of_the_database_are_long_and_some_last_a_whole_minute_but_not_all() {
        let schedules: Vec<_> = (0..400).map(|seed| Schedule::with_outages(seed, SHAPE)).collect();
        let outages = schedules.iter().flat_map(|schedule| &schedule.faults);
        let lengths: Vec<u64> = outages
            .filter(|fault| (fault.part, fault.kind) == (Part::Postgres, Kind::LongPause))
            .map(|fault| fault.until_ms - fault.from_ms)
            .collect();
        assert!((60..=140).contains(&lengths.len()), "{}", lengths.len());
        let whole = lengths.iter().filter(|length| **length == OUTAGE_MS_MAX).count();
        assert!((8..=40).contains(&whole), "{whole}");
        assert!(schedules.iter().all(|schedule| {
            schedule.faults.iter().filter(|fault| fault.part == Part::Postgres).count() <= 1
                && schedule.faults.iter().all(|fault| fault.until_ms < schedule.work_ms)
        }));
    }
}
