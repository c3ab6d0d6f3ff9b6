//! What a process sees that runs nothing itself.

use super::*;
use crate::lag::Lag;
use crate::limits;

async fn observed(world: &World) -> ReadModels {
    ReadModels::observe(world.log.clone(), world.store.handle()).await.unwrap()
}

async fn running(world: &World) -> ReadModels {
    ReadModels::start(world.log.clone(), world.store.handle()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_observer_waits_for_what_other_processes_store_and_makes_nothing_itself() {
    let mut world = World::new(11);
    let observer = observed(&world).await;
    assert!(observer.live(stock::STOCK).is_none());
    assert_eq!(world.store.list(stock::STOCK).await.unwrap(), []);
    let read_models = running(&world).await;
    let live = until_live(&observer, 1).await;
    world.append(0, 40, Shop::event).await;
    let until = ends(&*world.log, &live.read_model).await.unwrap();
    assert_eq!(live.wait_for(&until, PATIENCE).await.unwrap(), until);
    assert!(matches!(live.progress.borrow().state, RunnerState::Observed));
    // Where nobody runs it any more, nothing moves, and a wait ends at its limit.
    read_models.stop().await;
    world.append(1, 3, Shop::event).await;
    let further = ends(&*world.log, &live.read_model).await.unwrap();
    match live.wait_for(&further, Duration::from_millis(70)).await {
        Err(WaitError::Lags { waited_ms: 70, progress, .. }) => assert_eq!(progress.positions, until),
        other => panic!("{other:?}"),
    }
    assert_eq!(observer.statuses().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_observer_looks_often_while_somebody_waits_and_seldom_otherwise() {
    let mut world = World::new(12);
    let first = world.live().await;
    let observer = observed(&world).await;
    let live = until_live(&observer, 1).await;
    world.append(0, 10, Shop::event).await;
    world.settle_and_compare(&first).await;
    let until = ends(&*world.log, &live.read_model).await.unwrap();
    let asked = tokio::time::Instant::now();
    live.wait_for(&until, PATIENCE).await.unwrap();
    assert!(asked.elapsed() <= Duration::from_millis(2 * limits::OBSERVE_WAITED_MS), "{:?}", asked.elapsed());
    // Nobody waits: after one more look the next one comes by itself, later.
    tokio::time::sleep(Duration::from_millis(2 * limits::OBSERVE_WAITED_MS)).await;
    world.append(1, 10, Shop::event).await;
    world.settle_and_compare(&first).await;
    let further = ends(&*world.log, &live.read_model).await.unwrap();
    let began = tokio::time::Instant::now();
    reaches(&mut live.progress.clone(), &further).await;
    let took = began.elapsed();
    assert!(took <= Duration::from_millis(limits::OBSERVE_IDLE_MS + 10), "{took:?}");
    assert!(took > Duration::from_millis(limits::OBSERVE_IDLE_MS / 2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_observer_switches_to_a_promoted_generation_that_covers_what_it_has_shown() {
    let mut world = World::new(13);
    world.live().await;
    let read_models = running(&world).await;
    let observer = observed(&world).await;
    for round in 0..10u32 {
        world.append(0, 15, Shop::event).await;
        let next = ready(&world.store).await;
        let old = observer.live(stock::STOCK).unwrap();
        let token = ends(&*world.log, &old.read_model).await.unwrap();
        let seen = old.wait_for(&token, PATIENCE).await.unwrap();
        let promote = async {
            while world.store.promote(stock::STOCK, next.id).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, promote).await.unwrap();
        let new = until_live(&observer, next.id.0).await;
        let at = new.positions();
        let contexts = new.read_model.contexts();
        let covers = at.covers(&seen, |number| contexts.iter().any(|context| context.number == number));
        assert!(covers, "round {round}: {at:?} after {seen:?}");
    }
    read_models.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_said_to_be_and_observed_again_when_it_is_back() {
    let mut world = World::new(14);
    let first = world.live().await;
    let observer = observed(&world).await;
    let mut live = until_live(&observer, 1).await;
    world.store.set_faults(SinkFaults::seeded(0, 100, 0));
    let retries = |progress: &RunnerProgress| matches!(progress.state, RunnerState::Retrying { .. });
    tokio::time::timeout(PATIENCE, live.progress.wait_for(retries)).await.unwrap().unwrap();
    world.store.set_faults(SinkFaults::none());
    world.append(0, 5, Shop::event).await;
    world.settle_and_compare(&first).await;
    let until = ends(&*world.log, &live.read_model).await.unwrap();
    live.wait_for(&until, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn lag_counts_from_the_checkpoint_and_is_as_old_as_the_oldest_record_behind_it() {
    let mut world = World::new(15);
    world.append(0, 7, Shop::event).await;
    let at = world.owners[0].0.at();
    let mut reader = CheckedReader::open(&*world.log, at, Checkpoint::default()).await.unwrap();
    let first = reader.next().await.unwrap().unwrap().records[0].envelope.emitted_at;
    let behind = Lag::of(&*world.log, at, Checkpoint::default()).await.unwrap();
    assert_eq!(behind.oldest, Some(first));
    let now = annals_model::time::Timestamp(first.0 + 5_000_000);
    assert_eq!(behind.age(now), Duration::from_secs(5));
    while reader.next().await.unwrap().is_some() {}
    assert_eq!(behind.events, reader.checkpoint().ordinal.0);
    let here = Lag::of(&*world.log, at, reader.checkpoint()).await.unwrap();
    assert_eq!((here, here.age(now)), (Lag::default(), Duration::ZERO));
}
