//! Which step of the test log fails, and how.

use std::collections::VecDeque;

use crate::log::holes::Seeded;

/// How one append goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered `Aborted`; nothing was written.
    Abort,
    /// Answered `Unknown`; everything was written at once.
    UnknownCommitted,
    /// Answered `Unknown`; the batch stays in flight, and the next claim finds it committed below its barrier.
    UnknownLate,
    /// Answered `Unknown`; nothing was written.
    UnknownLost,
    /// Another owner claims first: answered `Fenced`, nothing was written.
    Fence,
    /// Another owner claims just behind: answered `Durable`, and the writer is fenced from then on.
    FenceAfter,
    /// Answered `Durable`, and the writer is spent: its next append is `Unknown`, with nothing written.
    Spend,
}

/// What the seed chooses from. `Spend` is no failure: it is scripted where a test is about it.
const ALL: [Fault; 6] =
    [Fault::Abort, Fault::UnknownCommitted, Fault::UnknownLate, Fault::UnknownLost, Fault::Fence, Fault::FenceAfter];

/// Faults of a test log: scripted ones first, in the order of appends, then by seed.
#[derive(Clone, Debug)]
pub struct Faults {
    seeded: Seeded,
    append_per_mille: u64,
    claim_per_mille: u64,
    prove_per_mille: u64,
    read_per_mille: u64,
    script: VecDeque<Option<Fault>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// Nothing fails.
    pub fn none() -> Self {
        Self::seeded(0, 0)
    }

    /// Each append, claim and proof fails with `per_mille` ‰, in ways that `seed` decides. Reads do not fail.
    pub fn seeded(seed: u64, per_mille: u64) -> Self {
        Self {
            seeded: Seeded::new(seed),
            append_per_mille: per_mille,
            claim_per_mille: per_mille,
            prove_per_mille: per_mille,
            read_per_mille: 0,
            script: VecDeque::new(),
        }
    }

    /// The next appends, of all partitions, end as listed (`None`: well); the ones after them end well.
    pub fn scripted(script: impl IntoIterator<Item = Option<Fault>>) -> Self {
        Self { script: script.into_iter().collect(), ..Self::none() }
    }

    /// Reads fail as well, with `per_mille` ‰: `Unavailable`, to be tried again.
    #[must_use]
    pub fn with_failing_reads(self, per_mille: u64) -> Self {
        Self { read_per_mille: per_mille, ..self }
    }

    pub(super) fn append(&mut self) -> Option<Fault> {
        if let Some(scripted) = self.script.pop_front() {
            return scripted;
        }
        let fault = ALL[self.seeded.below(ALL.len() as u64) as usize];
        self.hits(self.append_per_mille).then_some(fault)
    }

    pub(super) fn claim_fails(&mut self) -> bool {
        self.hits(self.claim_per_mille)
    }

    pub(super) fn proof_fails(&mut self) -> bool {
        self.hits(self.prove_per_mille)
    }

    pub(super) fn read_fails(&mut self) -> bool {
        self.hits(self.read_per_mille)
    }

    fn hits(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.seeded.below(1_000) < per_mille
    }
}
