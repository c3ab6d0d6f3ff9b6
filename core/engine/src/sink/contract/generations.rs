//! Generations: one is live, one builder builds, and readers never go back.

use annals_model::projection::ReadModel;

use super::bulk::load;
use super::history::{Batch, Batches};
use super::stock::{STOCK, stock_v1, stock_v2};
use super::{PATIENCE, consume_all, first, folded, open, stored};
use crate::generations::Generations;
use crate::generations::keep::Keep;
use crate::generations::life::Refusal;
use crate::generations::retention::{drop_old, old_after_a_promotion};
use crate::sink::{CreateError, Generation, GenerationId, GenerationState, PromoteError, StoreError};

async fn states(store: &Generations) -> Vec<(u32, u32, GenerationState)> {
    let generations = store.list(STOCK).await.unwrap_or_else(|error| panic!("{error}"));
    generations.iter().map(|generation| (generation.id.0, generation.version, generation.state)).collect()
}

/// A ready generation that was built from these batches.
async fn built(store: &Generations, model: &ReadModel, batches: &[Batch]) -> Generation {
    let (generation, _lock) = store.create(model, "a test").await.unwrap_or_else(|error| panic!("{error}"));
    load(&mut *open(store, &generation).await, model, batches, 1).await;
    store.finish(&generation, Ok(())).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(super) async fn the_first_start_makes_one_live_generation(store: Generations) {
    let model = stock_v1();
    assert_eq!(states(&store).await, []);
    let live = first(&store, &model).await;
    assert_eq!((live.id, live.version, live.state), (GenerationId(1), 1, GenerationState::Live));
    // Another start, also with a newer version: the promoted generation decides.
    assert_eq!(first(&store, &stock_v2()).await, live);
    assert_eq!(states(&store).await, [(1, 1, GenerationState::Live)]);
    let mut sink = open(&store, &live).await;
    assert_eq!(stored(&mut *sink, &model).await, folded(&model, &[]));
    assert_eq!(store.live(STOCK).await, Ok(Some(live)));
}

pub(super) async fn only_one_builder_is_at_work(store: Generations) {
    let live = first(&store, &stock_v1()).await;
    let (generation, lock) = store.create(&stock_v2(), "one").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((generation.id, generation.reason.as_deref()), (GenerationId(2), Some("one")));
    for model in [stock_v1(), stock_v2()] {
        let second = store.create(&model, "two").await.map(|_| ());
        let read_model = STOCK.to_owned();
        assert_eq!(second, Err(CreateError::AlreadyRunning { read_model, id: generation.id }), "a second builder");
    }
    store.finish(&generation, Ok(())).await.unwrap_or_else(|error| panic!("{error}"));
    drop(lock);
    let again = store.finish(&generation, Ok(())).await;
    assert!(matches!(again, Err(StoreError::Refused(Refusal::WrongState { .. }))), "{again:?}");
    let wanted = [(live.id.0, 1, GenerationState::Live), (2, 2, GenerationState::Ready)];
    assert_eq!(states(&store).await, wanted);
}

pub(super) async fn a_dead_builders_generation_is_begun_anew(store: Generations) {
    let batches = [Batches::new(12, 0, 1, 12).next(50)];
    let (dead, lock) = store.create(&stock_v1(), "one").await.unwrap_or_else(|error| panic!("{error}"));
    load(&mut *open(&store, &dead).await, &stock_v1(), &batches, 1).await;
    drop(lock);
    let (anew, _lock) = store.create(&stock_v2(), "two").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((anew.id, anew.version, anew.reason.as_deref()), (dead.id, 2, Some("two")));
    assert_eq!(states(&store).await, [(1, 2, GenerationState::Building)]);
    load(&mut *open(&store, &anew).await, &stock_v2(), &batches, 1).await;
    let mut sink = open(&store, &anew).await;
    assert_eq!(stored(&mut *sink, &stock_v2()).await, folded(&stock_v2(), &batches));
}

pub(super) async fn a_failed_build_says_why_and_is_never_promoted(store: Generations) {
    let (generation, lock) = store.create(&stock_v1(), "one").await.unwrap_or_else(|error| panic!("{error}"));
    let early = store.promote(STOCK, generation.id).await;
    assert!(matches!(early, Err(PromoteError::Store(StoreError::Refused(Refusal::WrongState { .. })))), "{early:?}");
    let failed = store.finish(&generation, Err("the disk is full")).await.unwrap_or_else(|error| panic!("{error}"));
    drop(lock);
    assert_eq!((failed.state, failed.failure.as_deref()), (GenerationState::Failed, Some("the disk is full")));
    let promoted = store.promote(STOCK, generation.id).await;
    assert!(
        matches!(promoted, Err(PromoteError::Store(StoreError::Refused(Refusal::WrongState { .. })))),
        "{promoted:?}"
    );
    let (next, _lock) = store.create(&stock_v1(), "two").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(next.id, GenerationId(2), "numbers are not used twice");
}

pub(super) async fn a_generation_that_is_behind_is_not_promoted(store: Generations) {
    let model = stock_v1();
    let live = first(&store, &model).await;
    let mut shops = [Batches::new(13, 0, 2, 12), Batches::new(13, 1, 2, 12)];
    let batches: Vec<Batch> = (0..6).map(|round| shops[round % 2].next(10)).collect();
    consume_all(&mut *open(&store, &live).await, &model, &batches).await;
    // Ahead in one partition, behind in the other: not a bit better.
    let ahead = shops[0].next(10);
    let mut seen = batches[..5].to_vec();
    seen.push(ahead);
    let target = built(&store, &stock_v2(), &seen).await;
    match store.promote(STOCK, target.id).await {
        Err(PromoteError::Behind { components, .. }) => {
            assert_eq!(components.iter().map(|component| component.at).collect::<Vec<_>>(), [batches[5].at]);
            assert_eq!((components[0].is, components[0].needs), (batches[3].to, batches[5].to));
        }
        other => panic!("a generation that is behind: {other:?}"),
    }
    assert_eq!(store.live(STOCK).await, Ok(Some(live)));
    consume_all(&mut *open(&store, &target).await, &stock_v2(), &batches[5..]).await;
    let promoted = store.promote(STOCK, target.id).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(promoted.live.id, target.id);
}

pub(super) async fn a_promotion_waits_for_the_targets_runner(store: Generations) {
    let model = stock_v1();
    let live = first(&store, &model).await;
    let batches = [Batches::new(14, 0, 1, 12).next(30)];
    consume_all(&mut *open(&store, &live).await, &model, &batches).await;
    let target = built(&store, &stock_v2(), &[]).await;
    let mut sink = open(&store, &target).await;
    let v2 = stock_v2();
    let (promoted, ()) = tokio::join!(store.promote(STOCK, target.id), async {
        tokio::task::yield_now().await;
        consume_all(&mut *sink, &v2, &batches).await;
    });
    assert_eq!(promoted.map(|promoted| promoted.live.id), Ok(target.id));
}

pub(super) async fn what_the_live_one_shows_before_a_promotion_the_promoted_one_shows_as_well(store: Generations) {
    let (model, mut shop) = (stock_v1(), Batches::new(17, 0, 1, 12));
    let mut live = first(&store, &model).await;
    let mut next = built(&store, &model, &[]).await;
    for pause in [0, 1, 2, 5] {
        let batch = shop.next(10);
        let (mut sink, mut behind) = (open(&store, &live).await, open(&store, &next).await);
        let (promoted, is_shown) = tokio::join!(store.promote(STOCK, next.id), async {
            for _ in 0..pause {
                tokio::task::yield_now().await;
            }
            consume_all(&mut *sink, &model, std::slice::from_ref(&batch)).await;
            // What is live behind the commit was so when it came.
            now(&store, &live).await.state == GenerationState::Live
        });
        consume_all(&mut *behind, &model, &[batch]).await;
        match promoted {
            Ok(_) => {
                assert!(!is_shown, "what was shown is not in the generation that was promoted");
                std::mem::swap(&mut live, &mut next);
            }
            // The commit came first.
            Err(error) => assert!(matches!(error, PromoteError::Behind { .. }), "{error}"),
        }
    }
}

pub(super) async fn promotion_and_rollback_change_which_is_live(store: Generations) {
    let batches = [Batches::new(15, 0, 1, 12).next(30)];
    let nothing = store.rollback(STOCK).await;
    assert_eq!(nothing, Err(PromoteError::NothingRetired { read_model: STOCK.to_owned() }));
    let one = first(&store, &stock_v1()).await;
    let two = built(&store, &stock_v2(), &batches).await;
    let promoted = store.promote(STOCK, two.id).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((promoted.live.id, promoted.retired.map(|retired| retired.id)), (two.id, Some(one.id)));
    let again = store.promote(STOCK, two.id).await;
    assert_eq!(again, Err(PromoteError::AlreadyLive { read_model: STOCK.to_owned(), target: two.id }));
    // The retired one must have been kept current to come back.
    assert!(matches!(store.rollback(STOCK).await, Err(PromoteError::Behind { .. })));
    consume_all(&mut *open(&store, &one).await, &stock_v1(), &batches).await;
    for live in [one.id, two.id, one.id] {
        let promoted = store.rollback(STOCK).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(promoted.live.id, live);
        assert_eq!(store.live(STOCK).await.map(|live| live.map(|live| live.id)), Ok(Some(live)));
    }
    let wanted = [(1, 1, GenerationState::Live), (2, 2, GenerationState::Retired)];
    assert_eq!(states(&store).await, wanted);
    store.record_verified(&one, "cafe").await.unwrap_or_else(|error| panic!("{error}"));
    let verified = store.generation(STOCK, one.id).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(verified.verified_digest.as_deref(), Some("cafe"));
}

/// As the registry knows it now.
async fn now(store: &Generations, generation: &Generation) -> Generation {
    store.generation(STOCK, generation.id).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(super) async fn only_retired_and_failed_generations_are_removed(store: Generations) {
    let one = first(&store, &stock_v1()).await;
    let two = built(&store, &stock_v1(), &[]).await;
    for generation in [&one, &two] {
        let refused = store.remove(generation).await;
        assert!(matches!(refused, Err(StoreError::Refused(Refusal::WrongState { .. }))), "{refused:?}");
    }
    store.promote(STOCK, two.id).await.unwrap_or_else(|error| panic!("{error}"));
    let one = now(&store, &one).await;
    store.remove(&one).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(states(&store).await, [(2, 1, GenerationState::Live)]);
    let gone = store.remove(&one).await;
    assert_eq!(gone, Err(Refusal::NoSuchGeneration { read_model: STOCK.to_owned(), id: one.id }.into()));
    let (three, lock) = store.create(&stock_v1(), "a test").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(three.id, GenerationId(3), "numbers are not used twice");
    let refused = store.remove(&three).await;
    assert!(matches!(refused, Err(StoreError::Refused(Refusal::WrongState { .. }))), "{refused:?}");
    let failed = store.finish(&three, Err("the disk is full")).await.unwrap_or_else(|error| panic!("{error}"));
    drop(lock);
    store.remove(&failed).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(states(&store).await, [(2, 1, GenerationState::Live)]);
    let four = built(&store, &stock_v1(), &[]).await;
    assert_eq!(four.id, GenerationId(4), "numbers are not used twice");
}

pub(super) async fn what_was_live_since_it_was_seen_is_not_removed(store: Generations) {
    let one = first(&store, &stock_v1()).await;
    let two = built(&store, &stock_v1(), &[]).await;
    store.promote(STOCK, two.id).await.unwrap_or_else(|error| panic!("{error}"));
    let seen = now(&store, &one).await;
    for _ in 0..2 {
        store.rollback(STOCK).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let refused = store.remove(&seen).await;
    assert_eq!(refused, Err(Refusal::ChangedMeanwhile { read_model: STOCK.to_owned(), id: one.id }.into()));
    assert_eq!(states(&store).await, [(1, 1, GenerationState::Retired), (2, 1, GenerationState::Live)]);
    store.remove(&now(&store, &one).await).await.unwrap_or_else(|error| panic!("{error}"));
}

pub(super) async fn a_builder_whose_build_was_begun_anew_ends_nothing(store: Generations) {
    let (dead, lock) = store.create(&stock_v1(), "one").await.unwrap_or_else(|error| panic!("{error}"));
    drop(lock);
    let (anew, _lock) = store.create(&stock_v1(), "two").await.unwrap_or_else(|error| panic!("{error}"));
    let changed = || StoreError::from(Refusal::ChangedMeanwhile { read_model: STOCK.to_owned(), id: anew.id });
    assert_eq!(store.finish(&dead, Ok(())).await, Err(changed()));
    assert_eq!(store.record_verified(&dead, "cafe").await, Err(changed()));
    assert_eq!(store.record_mismatch(&dead, "1 row").await, Err(changed()));
    assert_eq!(now(&store, &anew).await, anew);
}

pub(super) async fn behind_a_promotion_only_so_many_retired_generations_stay(store: Generations) {
    let batches = [Batches::new(16, 0, 1, 12).next(30)];
    let keep = Keep::new(2).unwrap_or_default();
    let one = first(&store, &stock_v1()).await;
    consume_all(&mut *open(&store, &one).await, &stock_v1(), &batches).await;
    let mut dropped = Vec::new();
    for _ in 2..=5 {
        let next = built(&store, &stock_v1(), &batches).await;
        let expected = old_after_a_promotion(&store, STOCK, keep).await.unwrap_or_else(|error| panic!("{error}"));
        store.promote(STOCK, next.id).await.unwrap_or_else(|error| panic!("{error}"));
        let old = drop_old(&store, STOCK, keep).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(old.left, []);
        let numbers = |all: &[Generation]| all.iter().map(|generation| generation.id.0).collect::<Vec<_>>();
        assert_eq!(numbers(&old.gone), numbers(&expected), "what was told before is what went");
        dropped.extend(numbers(&old.gone));
    }
    assert_eq!(dropped, [1, 2]);
    let kept = [(3, 1, GenerationState::Retired), (4, 1, GenerationState::Retired), (5, 1, GenerationState::Live)];
    assert_eq!(states(&store).await, kept);
    // Their rows are as they were, and a rollback finds what it goes back to; it leaves nothing to be dropped.
    let promoted = store.rollback(STOCK).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(promoted.live.id, GenerationId(4));
    let old = drop_old(&store, STOCK, keep).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((old.gone, old.left), (Vec::new(), Vec::new()));
    let mut sink = open(&store, &promoted.live).await;
    assert_eq!(stored(&mut *sink, &stock_v1()).await, folded(&stock_v1(), &batches));
    // One that a verification found wrong is no place to go back to, so an older one stays beside it.
    let wrong = store.generation(STOCK, GenerationId(5)).await.unwrap_or_else(|error| panic!("{error}"));
    store.record_mismatch(&wrong, "1 row").await.unwrap_or_else(|error| panic!("{error}"));
    let old = drop_old(&store, STOCK, Keep::default()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((old.gone, old.left), (Vec::new(), Vec::new()));
}

pub(super) async fn a_dead_builders_generation_is_told_from_one_that_is_being_built(store: Generations) {
    let (generation, lock) = store.create(&stock_v1(), "one").await.unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..2 {
        assert_eq!(store.is_being_built(&generation).await, Ok(true));
        assert_eq!(store.is_abandoned(&generation).await, Ok(false));
    }
    drop(lock);
    // Where the lock is a connection's, the server notices its end a little later.
    let noticed = async {
        while store.is_abandoned(&generation).await != Ok(true) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, noticed).await.is_ok(), "a dead builder is taken for one at work");
    let (anew, _lock) = store.create(&stock_v1(), "two").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((anew.id, store.is_abandoned(&anew).await), (generation.id, Ok(false)));
    let ready = store.finish(&anew, Ok(())).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(store.is_abandoned(&ready).await, Ok(false));
}

pub(super) async fn what_a_verification_found_is_remembered_until_one_succeeds(store: Generations) {
    let live = first(&store, &stock_v1()).await;
    let mismatch = async || store.generation(STOCK, live.id).await.map(|known| known.mismatch);
    assert_eq!(mismatch().await, Ok(None));
    for found in ["3 rows are not what the log says", "1 row is not what the log says"] {
        store.record_mismatch(&live, found).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(mismatch().await, Ok(Some(found.to_owned())));
    }
    store.record_verified(&live, "cafe").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(mismatch().await, Ok(None));
    // It is a generation's own: neither its successor's, nor that of one under the same number.
    let (generation, lock) = store.create(&stock_v1(), "one").await.unwrap_or_else(|error| panic!("{error}"));
    store.record_mismatch(&generation, "all of it").await.unwrap_or_else(|error| panic!("{error}"));
    drop(lock);
    let (anew, _lock) = store.create(&stock_v1(), "two").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((anew.id, anew.mismatch), (generation.id, None));
    let known = store.generation(STOCK, generation.id).await.map(|known| known.mismatch);
    assert_eq!(known, Ok(None));
}
