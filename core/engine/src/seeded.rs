//! Mistakes on purpose. A checker that finds nothing proves little until it has found something, so tests build the real
//! processes with the cargo feature `seeded-bugs` and switch on one of these through the environment.
//!
//! Without that feature, as releases are built, there is nothing of this, nor of the files `mistakes.rs` that alone ask for
//! it. A test of `annals-tests` sees to both, and that no binary has the feature by default.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use annals_model::position::ContextPartition;

/// One mistake. Where it is made: the place that asks [`is_on`] for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// The writer answers when its records are on the brokers, before their transaction is committed.
    AnswerBeforeCommit,
    /// A command is decided without a look whether it was accepted before.
    NoLedger,
    /// A sink commits rows first, and their checkpoint in a transaction of its own.
    CheckpointOutsideTransaction,
    /// The writer takes every commit for done, whatever the brokers say to it.
    CommitOutcomeIgnored,
    /// An owner folds up to where the partition seemed to end when it began to claim, not to the claim's barrier.
    StableOffsetInsteadOfBarrier,
    /// After an append of unknown outcome the owner claims, does not read, and decides the same commands again.
    RetryUnknownWithoutReading,
    /// A reader takes records of older claims for history.
    ClaimEpochUnchecked,
    /// A claim takes over one of the two producers; the old owner keeps the other.
    OneClaimInsteadOfTwo,
    /// A claim fences nobody: who is in the group is believed to be alone.
    MembershipInsteadOfFence,
    /// A runner whose sink or log failed does not try again.
    RunnerGivesUp,
    /// A session of the database is given up while it goes on with what it was told.
    SessionsLeftBehind,
}

impl SeededBug {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::AnswerBeforeCommit,
        Self::NoLedger,
        Self::CheckpointOutsideTransaction,
        Self::CommitOutcomeIgnored,
        Self::StableOffsetInsteadOfBarrier,
        Self::RetryUnknownWithoutReading,
        Self::ClaimEpochUnchecked,
        Self::OneClaimInsteadOfTwo,
        Self::MembershipInsteadOfFence,
        Self::RunnerGivesUp,
        Self::SessionsLeftBehind,
    ];

    /// What the environment calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnswerBeforeCommit => "answer-before-commit",
            Self::NoLedger => "no-ledger",
            Self::CheckpointOutsideTransaction => "checkpoint-outside-transaction",
            Self::CommitOutcomeIgnored => "commit-outcome-ignored",
            Self::StableOffsetInsteadOfBarrier => "stable-offset-instead-of-barrier",
            Self::RetryUnknownWithoutReading => "retry-unknown-without-reading",
            Self::ClaimEpochUnchecked => "claim-epoch-unchecked",
            Self::OneClaimInsteadOfTwo => "one-claim-instead-of-two",
            Self::MembershipInsteadOfFence => "membership-instead-of-fence",
            Self::RunnerGivesUp => "runner-gives-up",
            Self::SessionsLeftBehind => "sessions-left-behind",
        }
    }
}

/// A moment at which a test may stop a process, so that a fault falls between two steps that are microseconds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// An append was decided, and nothing of it has left the process.
    AppendBegins,
    /// An append's records are on the brokers, their transaction is open.
    Produced,
    /// An append's transaction is committed, nobody was told yet.
    Committed,
    /// A claim begins: nobody is fenced yet.
    ClaimBegins,
    /// A batch's rows are written, their transaction (with the bug: the checkpoint's) is open.
    RowsWritten,
}

impl Point {
    /// What its files are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AppendBegins => "append-begins",
            Self::Produced => "produced",
            Self::Committed => "committed",
            Self::ClaimBegins => "claim-begins",
            Self::RowsWritten => "rows-written",
        }
    }
}

/// What becomes of an outcome at a [`Point`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// It is told as it is.
    Told,
    /// It gets lost, as an answer does on a network.
    Lost,
}

/// Names the mistake that is on.
pub const BUG_VARIABLE: &str = "ANNALS_SEEDED_BUG";
/// Names a directory: while `<point>.hold` is in it, processes that reach the point (only the one whose id the file
/// has, or whoever is about the partition that it names, if it has one) write `<point>.reached` and wait;
/// `<point>.lose` loses one outcome.
pub const POINTS_VARIABLE: &str = "ANNALS_SEEDED_POINTS";

const LOOK: Duration = Duration::from_millis(2);

/// True if this mistake is to be made.
pub fn is_on(bug: SeededBug) -> bool {
    static ON: OnceLock<Option<SeededBug>> = OnceLock::new();
    *ON.get_or_init(|| {
        let name = std::env::var(BUG_VARIABLE).ok().filter(|name| !name.is_empty())?;
        let bug = SeededBug::ALL.into_iter().find(|bug| bug.name() == name);
        // A test that believes to have switched something on must not pass.
        Some(bug.unwrap_or_else(|| panic!("{BUG_VARIABLE}={name}: there is no such bug")))
    }) == Some(bug)
}

fn directory() -> Option<&'static Path> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    DIRECTORY.get_or_init(|| std::env::var_os(POINTS_VARIABLE).map(PathBuf::from)).as_deref()
}

fn hold_file(point: Point, at: Option<ContextPartition>) -> Option<PathBuf> {
    let hold = directory()?.join(format!("{}.hold", point.name()));
    let whom = std::fs::read_to_string(&hold).ok()?;
    let is_meant =
        whom.is_empty() || whom == std::process::id().to_string() || at.is_some_and(|at| whom == at.to_string());
    is_meant.then_some(hold)
}

/// True while whoever reaches the point is held.
pub fn is_held(point: Point) -> bool {
    hold_file(point, None).is_some()
}

/// The file that holds whoever comes to this point, after it was told that somebody came.
fn hold(point: Point, at: Option<ContextPartition>) -> Option<PathBuf> {
    let hold = hold_file(point, at)?;
    let reached = hold.with_extension("reached");
    // Whoever waits for this file notices that it does not come.
    let _ = std::fs::write(reached, std::process::id().to_string());
    Some(hold)
}

/// A test may stop the thread here.
pub fn reached(point: Point) -> Hand {
    passed(point, None)
}

/// As [`reached`], by whoever is about one partition.
pub fn reached_in(point: Point, at: ContextPartition) -> Hand {
    passed(point, Some(at))
}

fn passed(point: Point, at: Option<ContextPartition>) -> Hand {
    if let Some(hold) = hold(point, at) {
        while hold.exists() {
            std::thread::sleep(LOOK);
        }
    }
    // Removing it makes sure that one outcome is lost, not two.
    let lose = directory().map(|directory| directory.join(format!("{}.lose", point.name())));
    match lose.map(std::fs::remove_file) {
        Some(Ok(())) => Hand::Lost,
        Some(Err(_)) | None => Hand::Told,
    }
}

/// As [`reached`], for tasks.
pub async fn reached_by_task(point: Point) {
    if let Some(hold) = hold(point, None) {
        while hold.exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
