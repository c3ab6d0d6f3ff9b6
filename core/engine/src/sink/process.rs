//! Which processes work on a deployment, as they tell of themselves in the store that they all share.

use annals_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits;

/// What a process is there for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessKind {
    /// Owns partitions and answers requests.
    Node,
    /// Keeps read models current, and nothing else.
    Projector,
}

impl ProcessKind {
    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Projector => "projector",
        }
    }
}

/// What a process tells of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessReport {
    /// One process's life.
    pub id: String,
    /// What it is there for.
    pub kind: ProcessKind,
    /// Where it can be asked: its requests' address, or that of its metrics.
    pub address: Option<String>,
    /// The machine, and the process on it.
    pub host: String,
    /// See [`Self::host`].
    pub pid: u32,
    /// The build.
    pub build: String,
    /// When it started, by its own clock.
    pub started_at: Timestamp,
    /// The read models that it keeps current.
    pub runs: Vec<String>,
    /// The partitions that it owns: `context/first-last`, those that follow each other together.
    pub owns: Vec<String>,
    /// Which read models it finds in trouble.
    #[serde(default)]
    pub troubles: Vec<ProcessTrouble>,
}

/// A read model in trouble, as a process sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessTrouble {
    /// The read model.
    pub read_model: String,
    /// What is wrong.
    pub cause: String,
    /// It is tried again, and may pass.
    pub passes: bool,
}

/// A process, and when it was last heard of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownProcess {
    /// As it told.
    pub report: ProcessReport,
    /// How long ago, by the store's clock, milliseconds.
    pub seen_ms_ago: u64,
}

impl KnownProcess {
    /// True unless it has not been heard of for so long that it must be gone, or hang.
    pub const fn is_alive(&self) -> bool {
        self.seen_ms_ago <= limits::PROCESS_LOST_MS
    }

    /// True if it keeps a read model current, as far as is known.
    pub fn keeps(&self, read_model: &str) -> bool {
        self.is_alive() && self.report.runs.iter().any(|name| name == read_model)
    }
}
