//! Which physical copies of a read model are there, and what may become of each? One life for all of them, wherever their
//! rows lie.
//!
//! [`Generations`] takes every step: in one turn at the [`Registry`] it asks [`life`] what the step makes of the rows, has
//! the read model's [`Storage`] do its part, and writes what it was told. Registries and storages decide nothing.
//! [`retention`] says which retired generations nobody needs any more.

mod generation;
pub mod keep;
pub mod life;
pub mod registry;
pub mod retention;
pub mod storage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_model::ids::{ContextId, LogId};
use annals_model::projection::ReadModel;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::generation::{BehindComponent, Checkpoints, Generation, GenerationId, GenerationState};
use self::life::{Change, Life, Promoted, Promotion, Refusal};
use self::registry::{BuildLock, Registry};
use self::storage::Storage;
use crate::limits;
use crate::owners::system_now;
use crate::sink::{CreateError, PromoteError, Sink, StoreError};

/// Pause between two looks at how far a generation has come that is to be promoted.
const LOOK_AGAIN_MS: u64 = 2;

/// All generations of all read models of one deployment: what exists, what is served, who builds. Cheap to clone.
///
/// Builders, promoters and runners may live in different processes: what they must agree on is the registry's. What
/// callers MUST NOT rely on: that a generation listed a moment ago still has the same state.
#[derive(Clone, Debug)]
pub struct Generations {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log_id: LogId,
    models: Vec<Arc<ReadModel>>,
    registry: Arc<dyn Registry>,
    /// By read model: kinds may differ between read models, not between versions of one.
    storages: BTreeMap<String, Arc<dyn Storage>>,
}

impl Generations {
    /// Of the read models, in all versions, that this build carries, with the storage that their rows lie in; all stand
    /// for positions of this log.
    pub fn new(
        log_id: LogId,
        registry: Arc<dyn Registry>,
        stored: impl IntoIterator<Item = (Vec<Arc<ReadModel>>, Arc<dyn Storage>)>,
    ) -> Self {
        let (mut models, mut storages) = (Vec::new(), BTreeMap::new());
        for (stored, storage) in stored {
            storages.extend(stored.iter().map(|model| (model.name().to_owned(), Arc::clone(&storage))));
            models.extend(stored);
        }
        Self { inner: Arc::new(Inner { log_id, models, registry, storages }) }
    }

    /// Another handle on the same generations, for whoever reaches them through a store.
    pub fn handle(&self) -> Self {
        self.clone()
    }

    /// The log whose positions the generations stand for.
    pub fn log_id(&self) -> LogId {
        self.inner.log_id
    }

    /// The read models, in all versions, that this build carries.
    pub fn read_models(&self) -> &[Arc<ReadModel>] {
        &self.inner.models
    }

    /// A read model in one version, if this build carries it.
    pub fn read_model(&self, name: &str, version: u32) -> Option<Arc<ReadModel>> {
        self.read_models().iter().find(|model| model.name() == name && model.version() == version).cloned()
    }

    /// Where it stands which generations there are, and which processes.
    pub fn registry(&self) -> &dyn Registry {
        &*self.inner.registry
    }

    /// Changes whenever the registry may have changed: see [`Registry::changes`].
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.registry().changes()
    }

    fn storage(&self, read_model: &str, version: u32) -> Result<&dyn Storage, StoreError> {
        let unknown = || StoreError::UnknownVersion { read_model: read_model.to_owned(), version };
        self.inner.storages.get(read_model).map(|storage| &**storage).ok_or_else(unknown)
    }

    /// Where a generation's rows lie.
    pub(crate) fn of(&self, generation: &Generation) -> Result<&dyn Storage, StoreError> {
        self.storage(&generation.read_model, generation.version)
    }

    /// All generations of a read model, oldest first.
    pub async fn list(&self, read_model: &str) -> Result<Vec<Generation>, StoreError> {
        self.registry().list(read_model).await
    }

    async fn life(&self, read_model: &str) -> Result<Life, StoreError> {
        Ok(Life::new(read_model, 0, self.list(read_model).await?))
    }

    /// One generation.
    pub async fn generation(&self, read_model: &str, id: GenerationId) -> Result<Generation, StoreError> {
        Ok(self.life(read_model).await?.get(id)?.clone())
    }

    /// The live generation, if there is one.
    pub async fn live(&self, read_model: &str) -> Result<Option<Generation>, StoreError> {
        Ok(self.life(read_model).await?.live().cloned())
    }

    /// The live generation; where the read model has no generation at all, the first one is created live and empty, at
    /// the log's start, in this version. Where generations exist but none is live, nothing is created.
    pub async fn ensure_live(&self, read_model: &ReadModel) -> Result<Option<Generation>, StoreError> {
        let (name, version) = (read_model.name(), read_model.version());
        // Without a turn at first: that is all that a process does which may only read.
        let known = self.life(name).await?;
        if known.first_start(version, system_now())?.is_none() {
            return Ok(known.live().cloned());
        }
        let mut turn = self.registry().turn(name).await?;
        let Some(change) = turn.life().first_start(version, system_now())? else {
            return Ok(turn.life().live().cloned());
        };
        let (storage, generation) = (self.storage(name, version)?, change.generation());
        storage.make(&mut *turn, generation).await?;
        storage.show(&mut *turn, generation).await?;
        turn.write(&change).await?;
        turn.commit().await?;
        Ok(Some(generation.clone()))
    }

    /// Begins to build a generation: empty, [`GenerationState::Building`], and nobody else's while the lock is held. What
    /// a dead builder left is begun anew, under its number.
    pub async fn create(&self, read_model: &ReadModel, reason: &str) -> Result<(Generation, BuildLock), CreateError> {
        let (name, version) = (read_model.name(), read_model.version());
        let mut turn = self.registry().turn(name).await?;
        let change = turn.life().begin(version, reason, system_now()).map_err(StoreError::from)?;
        let generation = change.generation();
        let lock = self.registry().lock(name, generation.id).await?;
        let lock =
            lock.ok_or_else(|| CreateError::AlreadyRunning { read_model: name.to_owned(), id: generation.id })?;
        self.storage(name, version)?.make(&mut *turn, generation).await?;
        turn.write(&change).await?;
        turn.commit().await?;
        Ok((generation.clone(), lock))
    }

    /// The writer of a generation: see [`Storage::open`].
    pub async fn open(&self, generation: &Generation) -> Result<Box<dyn Sink>, StoreError> {
        self.of(generation)?.open(generation).await
    }

    /// How far a generation has come, as it is stored: see [`Storage::checkpoints`].
    pub async fn checkpoints(&self, generation: &Generation) -> Result<Checkpoints, StoreError> {
        self.of(generation)?.checkpoints(generation).await
    }

    /// Whether a generation's rows can be read: see [`Storage::probe`].
    pub async fn probe(&self, generation: &Generation) -> Result<Checkpoints, StoreError> {
        self.of(generation)?.probe(generation).await
    }

    /// Takes a step that changes rows of the registry alone.
    async fn step(
        &self,
        read_model: &str,
        decide: impl FnOnce(&Life) -> Result<Change, Refusal>,
    ) -> Result<Generation, StoreError> {
        let mut turn = self.registry().turn(read_model).await?;
        let change = decide(turn.life())?;
        turn.write(&change).await?;
        turn.commit().await?;
        Ok(change.generation().clone())
    }

    /// Ends a build: `Ok` makes it ready, `Err` failed for this cause. It must be building.
    pub async fn finish(&self, generation: &Generation, outcome: Result<(), &str>) -> Result<Generation, StoreError> {
        self.step(&generation.read_model, |life| life.finish(generation, outcome, system_now())).await
    }

    /// Records the digest of a successful verification.
    pub async fn record_verified(&self, generation: &Generation, digest: &str) -> Result<(), StoreError> {
        self.step(&generation.read_model, |life| life.verified(generation, digest)).await.map(drop)
    }

    /// Records that a verification found other rows than the log says, and what it found, until one succeeds.
    pub async fn record_mismatch(&self, generation: &Generation, found: &str) -> Result<(), StoreError> {
        self.step(&generation.read_model, |life| life.mismatch(generation, found)).await.map(drop)
    }

    /// Whether somebody builds a generation now: its lock is held. One that is [`GenerationState::Building`] and is not
    /// was left by a builder that died. It may have ended meanwhile: [`Self::is_abandoned`] looks at both.
    pub async fn is_being_built(&self, generation: &Generation) -> Result<bool, StoreError> {
        self.registry().is_locked(&generation.read_model, generation.id).await
    }

    /// Whether a generation was left half built by a builder that died: the next rebuild begins it anew.
    pub async fn is_abandoned(&self, generation: &Generation) -> Result<bool, StoreError> {
        if generation.state != GenerationState::Building || self.is_being_built(generation).await? {
            return Ok(false);
        }
        // A builder that ended well between the two looks let go of its lock, too.
        Ok(self.list(&generation.read_model).await?.contains(generation))
    }

    /// Makes a ready or retired generation live and retires the live one, in one turn that also checks that the target has
    /// come as far as the live one in every partition it reads; waits for the target's runner for at most
    /// [`limits::PROMOTE_WAIT_MS_MAX`] while it holds the live one still. A live generation of another log (the log was
    /// restored since) has no positions to compare and gives way to any of this log.
    pub async fn promote(&self, read_model: &str, target: GenerationId) -> Result<Promoted, PromoteError> {
        let mut turn = self.registry().turn(read_model).await?;
        let promotion = turn.life().promotion(target).map_err(|refusal| PromoteError::refused(read_model, refusal))?;
        let target = promotion.target();
        let storage = self.of(target)?;
        // Before the live one is held still: who reads what shows it keeps us, not its writer.
        storage.show(&mut *turn, target).await?;
        let model = self.read_model(read_model, target.version);
        let contexts = model.map(|model| model.contexts()).unwrap_or_default();
        let still = match promotion.live() {
            Some(live) => storage.hold(&mut *turn, live, &contexts).await?,
            None => None,
        };
        if let Some(shown) = still.as_ref().map(|still| &still.shown) {
            reached(storage, &promotion, shown, &contexts).await?;
        }
        let (promoted, changes) = promotion.make(system_now());
        for change in &changes {
            turn.write(change).await?;
        }
        turn.commit().await?;
        drop(still);
        Ok(promoted)
    }

    /// Promotes the generation that was retired last, by the rule of every promotion.
    pub async fn rollback(&self, read_model: &str) -> Result<Promoted, PromoteError> {
        let target = self.life(read_model).await?.rollback();
        self.promote(read_model, target.map_err(|refusal| PromoteError::refused(read_model, refusal))?).await
    }

    /// Removes the rows of a retired or failed generation and forgets it, if it is still what the caller has seen. Where
    /// its rows cannot be removed it is still known, and can be removed again.
    pub async fn remove(&self, generation: &Generation) -> Result<(), StoreError> {
        let mut turn = self.registry().turn(&generation.read_model).await?;
        let change = turn.life().remove(generation)?;
        turn.write(&change).await?;
        self.of(generation)?.remove(&mut *turn, generation).await?;
        turn.commit().await
    }
}

/// Waits until the target has come as far as the live generation, which is held still.
async fn reached(
    storage: &dyn Storage,
    promotion: &Promotion,
    shown: &Checkpoints,
    contexts: &[ContextId],
) -> Result<(), PromoteError> {
    let target = promotion.target();
    let deadline = Instant::now() + Duration::from_millis(limits::PROMOTE_WAIT_MS_MAX);
    loop {
        // Checkpoints never go back: what is reached at any moment is reached for good.
        let reached = storage.checkpoints(target).await?;
        match promotion.reaches(&reached, shown, contexts) {
            Ok(()) => return Ok(()),
            Err(behind) if Instant::now() >= deadline => {
                return Err(PromoteError::refused(&target.read_model, behind));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await,
        }
    }
}
