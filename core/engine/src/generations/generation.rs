//! Generations: the physical copies of a read model, and how far each has come.

use std::collections::BTreeMap;
use std::fmt;

use annals_model::ids::LogId;
use annals_model::position::{Checkpoint, ContextPartition, PositionVector};
use annals_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Number of one physical copy of a read model: 1, 2, 3, … per read model, never reused for a finished one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationId(pub u32);

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a generation is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Its builder alone may touch it.
    Building,
    /// Complete and durable; runners keep it current; it may be promoted.
    Ready,
    /// Serves queries; at most one per read model.
    Live,
    /// Was live; runners keep it current, so that a rollback obeys the rule of every promotion.
    Retired,
    /// Its build ended without a result; it can only be dropped.
    Failed,
}

impl GenerationState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Building, Self::Ready, Self::Live, Self::Retired, Self::Failed];

    /// Lower-case name, as the registry stores it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Live => "live",
            Self::Retired => "retired",
            Self::Failed => "failed",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// True where a runner keeps the generation current.
    pub const fn is_run(self) -> bool {
        matches!(self, Self::Ready | Self::Live | Self::Retired)
    }
}

impl fmt::Display for GenerationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One physical copy of a read model, as the registry knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Generation {
    /// Name of the read model.
    pub read_model: String,
    /// Version of the read model whose rows it holds.
    pub version: u32,
    /// Its number.
    pub id: GenerationId,
    /// Where it is in its life.
    pub state: GenerationState,
    /// When its build began, by the builder's clock.
    pub started_at: Timestamp,
    /// When it became ready or failed.
    pub finished_at: Option<Timestamp>,
    /// When it last stopped being live; the newest retired one is what a rollback promotes.
    pub retired_at: Option<Timestamp>,
    /// Hex digest of its last successful verification.
    pub verified_digest: Option<String>,
    /// What its last verification found, if its rows were not what the log says.
    pub mismatch: Option<String>,
    /// Why it was built, in words.
    pub reason: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{} generation {}", self.read_model, self.version, self.id)
    }
}

/// How far a generation has come in each partition of one log: what its rows stand for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoints {
    log_id: LogId,
    components: BTreeMap<ContextPartition, Checkpoint>,
}

impl Checkpoints {
    /// Nothing consumed of any partition.
    pub fn start(log_id: LogId) -> Self {
        Self { log_id, components: BTreeMap::new() }
    }
    /// The log whose positions these are.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }
    /// The checkpoint of a partition; the default one (nothing consumed) where there is none.
    pub fn get(&self, at: ContextPartition) -> Checkpoint {
        self.components.get(&at).copied().unwrap_or_default()
    }
    /// Replaces the checkpoint of a partition.
    pub fn set(&mut self, at: ContextPartition, checkpoint: Checkpoint) {
        self.components.insert(at, checkpoint);
    }
    /// All components that were set, by partition.
    pub fn iter(&self) -> impl Iterator<Item = (ContextPartition, Checkpoint)> + '_ {
        self.components.iter().map(|(at, checkpoint)| (*at, *checkpoint))
    }
    /// The offsets alone: what answers carry and tokens are compared with.
    pub fn positions(&self) -> PositionVector {
        let mut vector = PositionVector::default();
        for (at, checkpoint) in self.iter() {
            vector.advance(at, checkpoint.offset);
        }
        vector
    }

    /// The components in which this is behind `other`, among the contexts that `subscribed` accepts by number.
    pub fn behind(&self, other: &Self, subscribed: impl Fn(u8) -> bool) -> Vec<BehindComponent> {
        other
            .iter()
            .filter(|(at, _)| subscribed(at.context.number))
            .map(|(at, ahead)| BehindComponent { at, is: self.get(at), needs: ahead })
            .filter(|component| component.is.offset < component.needs.offset)
            .collect()
    }
}

/// One partition in which a generation has not come far enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BehindComponent {
    /// The partition.
    pub at: ContextPartition,
    /// Where the generation is.
    pub is: Checkpoint,
    /// Where it must be.
    pub needs: Checkpoint,
}

impl fmt::Display for BehindComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}, needs {}", self.at, self.is.offset, self.needs.offset)
    }
}
