//! What is said of a read model that cannot be read, or does not move.

use super::*;
use crate::limits;
use crate::sink::{ProcessKind, ProcessReport};

fn cause(read_models: &ReadModels) -> Option<String> {
    let health = read_models.health();
    assert_eq!(health.len(), 1);
    health[0].trouble.as_ref().map(|trouble| trouble.cause.clone())
}

/// Waits until the trouble is such; what it is.
async fn until(read_models: &ReadModels, is_such: impl Fn(Option<&str>) -> bool) -> Option<String> {
    let waiting = async {
        loop {
            let cause = cause(read_models);
            if is_such(cause.as_deref()) {
                return cause;
            }
            tokio::time::sleep(Duration::from_millis(limits::HEALTH_LOOK_MS)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

async fn observed(world: &World) -> ReadModels {
    ReadModels::observe(world.log.clone(), world.store.handle()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_read_model_that_is_behind_and_does_not_move_is_in_trouble_and_who_should_move_it_is_named() {
    let mut world = World::new(31);
    let first = world.live().await;
    let observer = observed(&world).await;
    assert_eq!(cause(&observer), None);
    let began = tokio::time::Instant::now();
    world.append(0, 5, Shop::event).await;
    let found = until(&observer, |cause| cause.is_some()).await.unwrap();
    assert!(found.contains("behind and does not move: no process keeps it current"), "{found}");
    assert!(began.elapsed() >= Duration::from_millis(limits::HEALTH_STILL_MS));
    let report = ProcessReport {
        id: "p1".to_owned(),
        kind: ProcessKind::Projector,
        address: None,
        host: String::new(),
        pid: 1,
        build: String::new(),
        started_at: annals_model::time::Timestamp(1),
        runs: vec![stock::STOCK.to_owned()],
        owns: Vec::new(),
        troubles: Vec::new(),
    };
    // It lives, and does not do what it is there for.
    world.store.registry().tell_of_process(&report).await.unwrap();
    until(&observer, |cause| cause.is_some_and(|cause| cause.contains("projector p1 should keep it current"))).await;
    world.settle_and_compare(&first).await;
    until(&observer, |cause| cause.is_none()).await;
    // What moves is not in trouble, although it is always behind.
    for _ in 0..40 {
        world.append(0, 30, Shop::event).await;
        world.settle_and_compare(&first).await;
        world.append(1, 1, Shop::event).await;
        tokio::time::sleep(Duration::from_millis(limits::HEALTH_LOOK_MS)).await;
        assert_eq!(cause(&observer), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_and_a_runner_that_stopped_are_trouble_until_they_are_over() {
    let mut world = World::new(32);
    world.live().await;
    let read_models = ReadModels::start(world.log.clone(), world.store.handle()).await.unwrap();
    assert_eq!(cause(&read_models), None);
    world.store.set_faults(SinkFaults::seeded(0, 100, 0));
    let found = until(&read_models, |cause| cause.is_some()).await.unwrap();
    assert!(found.contains("injected fault"), "{found}");
    assert!(read_models.health()[0].trouble.as_ref().unwrap().passes);
    world.store.set_faults(SinkFaults::none());
    until(&read_models, |cause| cause.is_none()).await;
    // An event that cannot be applied: nobody but an operator helps.
    world.append(0, 1, Shop::impossible_event).await;
    until(&read_models, |cause| cause.is_some()).await;
    assert!(!read_models.health()[0].trouble.as_ref().unwrap().passes);
}

#[tokio::test(start_paused = true)]
async fn a_read_model_without_a_live_generation_is_in_trouble() {
    let world = World::new(33);
    let observer = observed(&world).await;
    // The first one may be under way: trouble, but none that asks for a person.
    assert_eq!(cause(&observer).unwrap(), "stock has no live generation yet");
    assert!(observer.health()[0].trouble.as_ref().unwrap().passes);
    until(&observer, |cause| cause == Some("stock has no live generation: rebuild and promote one")).await;
    assert!(!observer.health()[0].trouble.as_ref().unwrap().passes);
    world.live().await;
    until(&observer, |cause| cause.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_changed_while_its_runner_waits_for_events_is_trouble() {
    let mut world = World::new(34);
    let live = world.live().await;
    world.append(0, 5, Shop::event).await;
    world.settle_and_compare(&live).await;
    let read_models = ReadModels::start(world.log.clone(), world.store.handle()).await.unwrap();
    until(&read_models, |cause| cause.is_none()).await;
    let mut sink = world.store.open(&live).await.unwrap();
    let at = world.owners[0].0.at();
    let from = sink.checkpoints().await.unwrap().get(at);
    let to = Checkpoint { offset: Offset(from.offset.0 + 2), ordinal: Ordinal(from.ordinal.0 + 2), ..from };
    sink.commit(&stock::new_tables(&stock::stock_v1()), at, from, to).await.unwrap();
    let found = until(&read_models, |cause| cause.is_some()).await.unwrap();
    assert!(found.contains("the log is whole, the checkpoint is false"), "{found}");
    assert!(!read_models.health()[0].trouble.as_ref().unwrap().passes);
}
