//! The life of a generation: which step may follow which, and what it makes of the registry's rows.
//!
//! Pure. The generations of one read model go in, with the time and what the caller has seen; the rows to write come out,
//! or a refusal, and then nothing is to be written. Every step on every state stands in the truth table of this module's
//! tests. What holds after any steps whatever: at most one generation is live; a number is used once; where one was live,
//! one is.

use annals_model::ids::ContextId;
use annals_model::time::Timestamp;

use super::keep::Keep;
use super::{BehindComponent, Checkpoints, Generation, GenerationId, GenerationState};

/// The registry's rows of one read model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Life {
    read_model: String,
    last: u32,
    generations: Vec<Generation>,
}

/// One row of the registry, to be written only while it is what it was before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new row, under a number that has not been used: the last one used is now its own.
    Added(Generation),
    /// Another state of a row.
    Changed {
        /// As it must be still.
        before: Generation,
        /// As it shall be.
        after: Generation,
    },
    /// No row any more; its number stays used.
    Removed(Generation),
}

impl Change {
    /// The generation behind the change; the one that is gone, if it is removed.
    pub const fn generation(&self) -> &Generation {
        match self {
            Self::Added(generation) | Self::Changed { after: generation, .. } | Self::Removed(generation) => generation,
        }
    }
}

/// Why a step was not taken. Nothing is to be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such generation: list them.
    #[error("{read_model} has no generation {id}")]
    NoSuchGeneration {
        /// The read model.
        read_model: String,
        /// What was asked for.
        id: GenerationId,
    },
    /// The generation's state does not allow it.
    #[error("{read_model} generation {id} is {state}; this needs {needs}")]
    WrongState {
        /// The read model.
        read_model: String,
        /// The generation.
        id: GenerationId,
        /// Its state.
        state: GenerationState,
        /// The states that would do.
        needs: &'static str,
    },
    /// It is not the one that the caller has seen: begun anew under its number, or promoted meanwhile. Look again.
    #[error("{read_model} generation {id} has changed meanwhile; look at it again")]
    ChangedMeanwhile {
        /// The read model.
        read_model: String,
        /// The generation.
        id: GenerationId,
    },
    /// All numbers are used: the registry was written by somebody else.
    #[error("{read_model} has no number left for another generation")]
    NoNumberLeft {
        /// The read model.
        read_model: String,
    },
}

/// Why a generation does not become live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPromoted {
    /// It is not there, or neither ready nor retired.
    Refused(Refusal),
    /// It is live already.
    AlreadyLive(GenerationId),
    /// It has not seen what the live one has shown.
    Behind {
        /// What was to be promoted.
        target: GenerationId,
        /// What is live.
        live: GenerationId,
        /// Where it is behind.
        components: Vec<BehindComponent>,
    },
    /// There is no retired generation to go back to.
    NothingRetired,
}

/// What a promotion did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// Now live.
    pub live: Generation,
    /// Live until now.
    pub retired: Option<Generation>,
}

/// A promotion that the states allow. Before it is made, the target must have come as far as the live generation:
/// [`Self::reaches`]; where that one has no positions that anybody could have been shown (it cannot be read), it need not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promotion {
    target: Generation,
    live: Option<Generation>,
    retired_at_least: Timestamp,
}

impl Promotion {
    /// What becomes live.
    pub const fn target(&self) -> &Generation {
        &self.target
    }

    /// What is live.
    pub const fn live(&self) -> Option<&Generation> {
        self.live.as_ref()
    }

    /// Refuses a target that is behind what the live generation needs of it, in the contexts that the target reads.
    /// Positions of another log (that one was restored since) compare to nothing, and need nothing.
    pub fn reaches(
        &self,
        reached: &Checkpoints,
        needed: &Checkpoints,
        contexts: &[ContextId],
    ) -> Result<(), NotPromoted> {
        let Some(live) = &self.live else { return Ok(()) };
        if needed.log_id() != reached.log_id() {
            return Ok(());
        }
        let components = reached.behind(needed, |number| contexts.iter().any(|context| context.number == number));
        if components.is_empty() {
            return Ok(());
        }
        Err(NotPromoted::Behind { target: self.target.id, live: live.id, components })
    }

    /// What the promotion writes, in this order: there is never more than one live row.
    pub fn make(self, at: Timestamp) -> (Promoted, Vec<Change>) {
        let mut changes = Vec::new();
        let retired = self.live.map(|before| {
            let retired_at = Some(at.max(self.retired_at_least));
            let after = Generation { state: GenerationState::Retired, retired_at, ..before.clone() };
            changes.push(Change::Changed { before, after: after.clone() });
            after
        });
        let live = Generation { state: GenerationState::Live, retired_at: None, ..self.target.clone() };
        changes.push(Change::Changed { before: self.target, after: live.clone() });
        (Promoted { live, retired }, changes)
    }
}

impl Life {
    /// Of a registry's rows, and the last number that it used; 0 where it used none, or where nothing is begun.
    pub fn new(read_model: &str, last: u32, mut generations: Vec<Generation>) -> Self {
        generations.sort_by_key(|generation| generation.id);
        Self { read_model: read_model.to_owned(), last, generations }
    }

    /// The read model's name.
    pub fn read_model(&self) -> &str {
        &self.read_model
    }

    /// All of them, oldest first.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// The last number that the registry used, as it says.
    pub const fn last(&self) -> u32 {
        self.last
    }

    /// The one that is served.
    pub fn live(&self) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.state == GenerationState::Live)
    }

    /// The one with this number.
    pub fn get(&self, id: GenerationId) -> Result<&Generation, Refusal> {
        let found = self.generations.iter().find(|generation| generation.id == id);
        found.ok_or_else(|| Refusal::NoSuchGeneration { read_model: self.read_model.clone(), id })
    }

    /// The very one that a caller has seen: one that was begun anew since has its number and is another.
    fn same(&self, seen: &Generation) -> Result<&Generation, Refusal> {
        let found = self.get(seen.id)?;
        if found.started_at == seen.started_at { Ok(found) } else { Err(self.changed(seen.id)) }
    }

    /// What a compare-and-set says that finds another row.
    pub fn changed(&self, id: GenerationId) -> Refusal {
        Refusal::ChangedMeanwhile { read_model: self.read_model.clone(), id }
    }

    fn needs(&self, of: &Generation, states: &[GenerationState], needs: &'static str) -> Result<(), Refusal> {
        if states.contains(&of.state) {
            return Ok(());
        }
        Err(Refusal::WrongState { read_model: self.read_model.clone(), id: of.id, state: of.state, needs })
    }

    fn begun(&self, id: GenerationId, version: u32, reason: &str, at: Timestamp) -> Generation {
        Generation {
            read_model: self.read_model.clone(),
            version,
            id,
            state: GenerationState::Building,
            started_at: at,
            finished_at: None,
            retired_at: None,
            verified_digest: None,
            mismatch: None,
            reason: Some(reason.to_owned()),
            failure: None,
        }
    }

    fn next_number(&self) -> Result<GenerationId, Refusal> {
        // A row whose number the registry forgot to count is no reason to use the number twice.
        let last = self.generations.last().map_or(self.last, |newest| newest.id.0.max(self.last));
        let next = last.checked_add(1).map(GenerationId);
        next.ok_or_else(|| Refusal::NoNumberLeft { read_model: self.read_model.clone() })
    }

    /// The first start of a read model that has no generation at all: one is live from the log's start. Nothing where
    /// there are any, also if none of them is live.
    pub fn first_start(&self, version: u32, at: Timestamp) -> Result<Option<Change>, Refusal> {
        if !self.generations.is_empty() {
            return Ok(None);
        }
        let begun = self.begun(self.next_number()?, version, "first start", at);
        Ok(Some(Change::Added(Generation { state: GenerationState::Live, finished_at: Some(at), ..begun })))
    }

    /// Begins a build, under the next number; what another builder left is begun anew, under its number. Whoever writes
    /// this must hold that number's lock: that the other builder died is what the lock says.
    pub fn begin(&self, version: u32, reason: &str, at: Timestamp) -> Result<Change, Refusal> {
        let left = self.generations.iter().find(|generation| generation.state == GenerationState::Building);
        let Some(left) = left else {
            return Ok(Change::Added(self.begun(self.next_number()?, version, reason, at)));
        };
        // Told apart by when it began, whatever the clock says.
        let at = at.max(left.started_at.after());
        Ok(Change::Changed { before: left.clone(), after: self.begun(left.id, version, reason, at) })
    }

    /// Ends the very build that was begun: ready, or failed for this cause.
    pub fn finish(&self, seen: &Generation, outcome: Result<(), &str>, at: Timestamp) -> Result<Change, Refusal> {
        let before = self.same(seen)?.clone();
        self.needs(&before, &[GenerationState::Building], "a building one")?;
        let state = if outcome.is_ok() { GenerationState::Ready } else { GenerationState::Failed };
        let failure = outcome.err().map(ToOwned::to_owned);
        let after = Generation { state, failure, finished_at: Some(at), ..before.clone() };
        Ok(Change::Changed { before, after })
    }

    /// Remembers the digest of a verification that succeeded; what earlier ones found is over.
    pub fn verified(&self, seen: &Generation, digest: &str) -> Result<Change, Refusal> {
        let before = self.same(seen)?.clone();
        let after = Generation { verified_digest: Some(digest.to_owned()), mismatch: None, ..before.clone() };
        Ok(Change::Changed { before, after })
    }

    /// Remembers what a verification found, until one succeeds.
    pub fn mismatch(&self, seen: &Generation, found: &str) -> Result<Change, Refusal> {
        let before = self.same(seen)?.clone();
        let after = Generation { mismatch: Some(found.to_owned()), ..before.clone() };
        Ok(Change::Changed { before, after })
    }

    /// Whether a generation may become live, by its state.
    pub fn promotion(&self, target: GenerationId) -> Result<Promotion, NotPromoted> {
        let target = self.get(target).map_err(NotPromoted::Refused)?.clone();
        if target.state == GenerationState::Live {
            return Err(NotPromoted::AlreadyLive(target.id));
        }
        let states = [GenerationState::Ready, GenerationState::Retired];
        self.needs(&target, &states, "a ready or retired one").map_err(NotPromoted::Refused)?;
        Ok(Promotion { target, live: self.live().cloned(), retired_at_least: self.after_all_retired() })
    }

    /// Later than all that were retired before, whatever the clock says: the newest is what a rollback goes back to.
    fn after_all_retired(&self) -> Timestamp {
        let newest = self.generations.iter().filter_map(|generation| generation.retired_at).max();
        newest.map_or(Timestamp(i64::MIN), Timestamp::after)
    }

    /// What a rollback promotes: the one that was retired last.
    pub fn rollback(&self) -> Result<GenerationId, NotPromoted> {
        self.retired().first().map(|newest| newest.id).ok_or(NotPromoted::NothingRetired)
    }

    /// The retired ones, the one that was retired last first.
    fn retired(&self) -> Vec<&Generation> {
        let is_retired = |generation: &&Generation| generation.state == GenerationState::Retired;
        let mut retired: Vec<&Generation> = self.generations.iter().filter(is_retired).collect();
        retired.sort_by_key(|generation| std::cmp::Reverse((generation.retired_at, generation.id)));
        retired
    }

    /// Forgets a retired or failed generation, if it is what the caller has seen: one that was live in between may be what
    /// a rollback goes back to now.
    pub fn remove(&self, seen: &Generation) -> Result<Change, Refusal> {
        let found = self.get(seen.id)?;
        self.needs(found, &[GenerationState::Retired, GenerationState::Failed], "a retired or failed one")?;
        let is_seen = |found: &Generation| {
            (found.started_at, found.state, found.retired_at) == (seen.started_at, seen.state, seen.retired_at)
        };
        if is_seen(found) { Ok(Change::Removed(found.clone())) } else { Err(self.changed(seen.id)) }
    }

    /// The retired generations that nobody needs any more, oldest first. The newest `keep` stay, because a rollback goes
    /// back to them; and the newest `keep` of those that are good stay, because it cannot go back to the others.
    pub fn old(&self, keep: Keep, is_good: impl Fn(&Generation) -> bool) -> Vec<Generation> {
        let keep = usize::from(keep.count());
        let mut good = 0;
        let mut old = Vec::new();
        for (place, generation) in self.retired().into_iter().enumerate() {
            let counts = is_good(generation);
            if place >= keep && (!counts || good >= keep) {
                old.push(generation.clone());
            }
            good += usize::from(counts);
        }
        old.reverse();
        old
    }

    /// What would be old if the live generation were retired now.
    pub fn old_after_a_promotion(&self, keep: Keep, is_good: impl Fn(&Generation) -> bool) -> Vec<Generation> {
        let mut after = self.clone();
        for live in after.generations.iter_mut().filter(|generation| generation.state == GenerationState::Live) {
            live.state = GenerationState::Retired;
            live.retired_at = Some(self.after_all_retired());
        }
        after.old(keep, is_good)
    }

    /// The rows behind a change.
    pub fn apply(&mut self, change: &Change) {
        let id = change.generation().id;
        self.generations.retain(|generation| generation.id != id);
        match change {
            Change::Added(generation) => self.last = generation.id.0.max(self.last),
            Change::Changed { .. } => {}
            Change::Removed(_) => return,
        }
        self.generations.push(change.generation().clone());
        self.generations.sort_by_key(|generation| generation.id);
    }
}

#[cfg(test)]
mod tests;
