use annals_model::ids::{ContextId, Partition};
use futures_util::FutureExt as _;

use super::*;

fn asker(tenant: u128, client: u64) -> Asker {
    Asker { tenant: TenantId(uuid::Uuid::from_u128(tenant)), client }
}

fn partition(number: u16) -> Target {
    let context = ContextId { name: "test", number: 1 };
    Target::Partition(ContextPartition { context, partition: Partition(number) })
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Takes until nothing is left for this asker and target.
fn take_all(pool: &Arc<Pool>, asker: Asker, target: Target) -> Vec<Place> {
    std::iter::from_fn(|| pool.take(asker, target, later()).now_or_never()).map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_answers_nothing_leaves_room_for_the_others() {
    let pool = Pool::new("commands", 1_000, 10);
    let first = take_all(&pool, asker(1, 1), partition(1));
    assert!(first.len() >= 1_000 / 5, "{}", first.len());
    let mut dead = vec![first];
    for number in 2..=10 {
        for tenant in 1..=3 {
            dead.push(take_all(&pool, asker(tenant, 1), partition(number)));
        }
    }
    // Many are dead, and whoever sends to them: the next one has room, for the same tenant too.
    assert!(pool.free() > 0);
    pool.take(asker(1, 1), partition(99), later()).now_or_never().unwrap().unwrap();
    drop(dead);
    assert_eq!(pool.free(), 1_000);
    assert!(pool.state().targets.is_empty() && pool.state().tenants.is_empty() && pool.state().clients.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_floods_a_partition_leaves_room_in_it_for_another_tenant() {
    let pool = Pool::new("commands", 1_000, 10);
    let flood = take_all(&pool, asker(1, 1), partition(1));
    let others = take_all(&pool, asker(2, 1), partition(1));
    assert!(others.len() >= flood.len() / 4, "{} of {}", others.len(), flood.len());
    assert!(!take_all(&pool, asker(3, 1), partition(1)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn room_goes_to_the_client_with_the_least_under_way() {
    let pool = Pool::new("commands", 4, 100);
    let mut held = take_all(&pool, asker(1, 1), Target::Any);
    let mut greedy: Vec<_> = (0..50).map(|_| Box::pin(pool.take(asker(1, 1), Target::Any, later()))).collect();
    for waits in &mut greedy {
        assert!(waits.as_mut().now_or_never().is_none());
    }
    let mut polite = Box::pin(pool.take(asker(1, 2), Target::Any, later()));
    assert!(polite.as_mut().now_or_never().is_none());
    held.pop();
    let place = polite.as_mut().now_or_never().unwrap().unwrap();
    assert!(greedy.iter_mut().all(|waits| waits.as_mut().now_or_never().is_none()));
    drop(place);
    // Among those of one client: who waits longest.
    greedy[0].as_mut().now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_too_many_wait_the_client_that_sends_the_most_is_told_off() {
    let pool = Pool::new("commands", 2, 4);
    let _held = take_all(&pool, asker(1, 1), Target::Any);
    let mut greedy: Vec<_> = (0..4).map(|_| Box::pin(pool.take(asker(1, 1), Target::Any, later()))).collect();
    for waits in &mut greedy {
        assert!(waits.as_mut().now_or_never().is_none());
    }
    let mut polite = Box::pin(pool.take(asker(1, 2), Target::Any, later()));
    assert!(polite.as_mut().now_or_never().is_none());
    let refused = greedy[3].as_mut().now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Overloaded);
    assert!(greedy[..3].iter_mut().all(|waits| waits.as_mut().now_or_never().is_none()));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_it_is_worth_and_who_gives_up_leaves_nothing_behind() {
    let pool = Pool::new("commands", 2, 4);
    let held = take_all(&pool, asker(1, 1), Target::Any);
    let started = Instant::now();
    pool.take(asker(1, 1), Target::Any, later()).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_millis(limits::PLACE_WAIT_MS));
    pool.take(asker(1, 1), Target::Any, Instant::now()).await.unwrap_err();
    let mut gone = Box::pin(pool.take(asker(1, 1), Target::Any, later()));
    assert!(gone.as_mut().now_or_never().is_none());
    // The place comes, and nobody is there for it any more.
    drop(held);
    drop(gone);
    assert_eq!(pool.free(), 2);
    assert_eq!(pool.state().queue.fronts().count(), 0);
}
