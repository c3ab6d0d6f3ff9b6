use super::*;

/// More than there are in these tests.
const ROOM: usize = 1_000;

fn ended(connection: &Connection) -> bool {
    connection.state.idle_since.load(Ordering::Acquire) == ENDED
}

/// As if it had been idle since then.
fn idle_since(connection: &Connection, ms: u64) {
    connection.state.idle_since.store(ms, Ordering::Release);
}

#[test]
fn the_connection_that_has_been_idle_for_the_longest_makes_room() {
    let connections = Connections::new();
    let all: Vec<_> = (0..3).map(|_| connections.enter(ROOM)).collect();
    for (connection, since) in all.iter().zip([7, 5, 6]) {
        idle_since(connection, since);
    }
    let busy = all[1].begin();
    assert!(connections.make_any_room());
    assert_eq!(all.iter().map(|connection| ended(connection)).collect::<Vec<_>>(), [false, false, true]);
    assert!(all[2].begin().is_none(), "what has to end begins no request");
    assert!(connections.make_any_room());
    assert!(!connections.make_any_room(), "a request under way is never cut for another's sake");
    drop(busy);
    assert!(connections.make_any_room() && ended(&all[1]));
    drop(all);
    assert!(connections.all().is_empty());
}

#[test]
fn whoever_takes_the_place_of_one_in_the_reserve_is_in_the_reserve() {
    let connections = Connections::new();
    let full: Vec<_> = (0..2).map(|_| connections.enter(2)).collect();
    let busy: Vec<_> = full.iter().map(|connection| connection.begin().unwrap()).collect();
    let reserve: Vec<_> = (0..5).map(|_| connections.enter(2)).collect();
    assert!(reserve.iter().all(|connection| connection.is_reserved() && !ended(connection)));
    // One of those that are not in it has nothing to do any more, and gives way first.
    idle_since(&full[0], NEVER - 2);
    let next = connections.enter(2);
    let works = next.begin();
    assert!(!next.is_reserved() && ended(&full[0]) && !reserve.iter().any(|connection| ended(connection)));
    assert!(connections.make_any_room());
    assert!(connections.enter(2).is_reserved(), "room made in the reserve is room in the reserve");
    drop((busy, works, full, reserve, next));
    assert!(connections.full.load(Ordering::Acquire) == 0 && !connections.enter(2).is_reserved());
}

#[tokio::test]
async fn clients_that_take_nothing_make_room_and_are_never_more_than_the_limit() {
    let connections = Arc::new(Connections {
        started: Instant::now() - std::time::Duration::from_secs(3_600),
        all: Mutex::default(),
        last: AtomicU64::new(0),
        full: AtomicUsize::new(0),
        stalled: AtomicUsize::new(0),
    });
    let all: Vec<_> = (0..=limits::STALLED_CONNECTIONS_MAX).map(|_| connections.enter(ROOM)).collect();
    let _busy: Vec<_> = all.iter().map(|connection| connection.begin()).collect();
    let (last, first) = all.split_last().unwrap();
    for (number, connection) in first.iter().enumerate() {
        connection.is_stalled();
        connection.state.stalled_since.store(number as u64, Ordering::Release);
    }
    first[0].takes_again();
    first[0].is_stalled();
    first[0].state.stalled_since.store(NEVER - 1, Ordering::Release);
    last.is_stalled();
    // The one that took something meanwhile stays.
    first[1].ends().await;
    assert_eq!(connections.stalled.load(Ordering::Acquire), limits::STALLED_CONNECTIONS_MAX);
    assert!(connections.make_any_room());
    first[2].ends().await;
}

#[test]
fn a_connection_that_is_told_off_makes_room_before_one_that_works_and_is_not_taken_for_idle_afterwards() {
    let connections = Connections::new();
    let (working, refused, kept) = (connections.enter(ROOM), connections.enter(ROOM), connections.enter(ROOM));
    let (_working, refused_busy, kept_busy) =
        (working.begin().unwrap(), refused.begin().unwrap(), kept.begin().unwrap());
    refused_busy.rest();
    assert!(connections.make_any_room());
    assert_eq!((ended(&working), ended(&refused)), (false, true));
    assert!(!refused_busy.go_on(), "what has to end is not answered");
    drop(refused_busy);
    assert!(ended(&refused), "and stays so");
    kept_busy.rest();
    assert!(kept_busy.go_on());
    assert!(!connections.make_any_room(), "a request under way is never cut for another's sake");
}
