//! The registry: turns follow each other, and only what is as it was found is written.

use annals_model::time::Timestamp;

use super::stock::{STOCK, stock_v1};
use super::{PATIENCE, first};
use crate::generations::Generations;
use crate::generations::life::{Change, Refusal};
use crate::generations::registry::{Registry, Turn};
use crate::limits;
use crate::sink::{Generation, ProcessKind, ProcessReport, ProcessTrouble};

async fn turn(registry: &dyn Registry) -> Box<dyn Turn> {
    registry.turn(STOCK).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn listed(registry: &dyn Registry) -> Vec<Generation> {
    registry.list(STOCK).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A build begins, in a turn that goes on.
async fn begun(turn: &mut dyn Turn) -> Change {
    let change = turn.life().begin(1, "a test", Timestamp(1)).unwrap_or_else(|error| panic!("{error}"));
    turn.write(&change).await.unwrap_or_else(|error| panic!("{error}"));
    change
}

pub(super) async fn what_is_written_stands_when_the_turn_is_committed_and_never_if_it_is_dropped(store: Generations) {
    let registry = store.registry();
    let mut dropped = turn(registry).await;
    begun(&mut *dropped).await;
    assert_eq!(listed(registry).await, [], "a turn that was not committed is seen");
    drop(dropped);
    let mut committed = turn(registry).await;
    assert_eq!((committed.life().generations(), committed.life().last()), (&[][..], 0));
    let added = begun(&mut *committed).await;
    committed.commit().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(listed(registry).await, [added.generation().clone()]);
}

pub(super) async fn a_turn_sees_what_the_one_before_it_wrote(store: Generations) {
    let registry = store.registry();
    let mut one = turn(registry).await;
    let (other, added) = tokio::join!(turn(registry), async {
        tokio::task::yield_now().await;
        let added = begun(&mut *one).await;
        one.commit().await.unwrap_or_else(|error| panic!("{error}"));
        added
    });
    assert_eq!(other.life().generations(), [added.generation().clone()], "two had a turn at once");
    assert_eq!(other.life().last(), 1);
}

pub(super) async fn what_is_not_as_it_was_decided_on_is_not_written(store: Generations) {
    let registry = store.registry();
    let mut writing = turn(registry).await;
    let added = begun(&mut *writing).await;
    let mut life = writing.life().clone();
    life.apply(&added);
    let ended = life.finish(added.generation(), Err("no room"), Timestamp(2)).unwrap_or_else(|error| panic!("{error}"));
    writing.write(&ended).await.unwrap_or_else(|error| panic!("{error}"));
    let changed = Refusal::ChangedMeanwhile { read_model: STOCK.to_owned(), id: added.generation().id };
    for late in [added.clone(), ended.clone(), Change::Removed(added.generation().clone())] {
        assert_eq!(writing.write(&late).await, Err(changed.clone().into()), "{late:?}");
    }
    writing.commit().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(listed(registry).await, [ended.generation().clone()]);
}

pub(super) async fn changes_are_told(store: Generations) {
    let mut changes = store.changes();
    changes.mark_unchanged();
    first(&store, &stock_v1()).await;
    let told = tokio::time::timeout(PATIENCE, changes.changed()).await;
    assert!(matches!(told, Ok(Ok(()))), "nobody was told of a new generation");
}

pub(super) async fn processes_are_known_while_they_tell_of_themselves(store: Generations) {
    let report = |number: i64| ProcessReport {
        id: format!("process {number}"),
        kind: ProcessKind::Projector,
        address: Some("127.0.0.1:9464".to_owned()),
        host: "one".to_owned(),
        pid: 17,
        build: "0".to_owned(),
        started_at: Timestamp(number),
        runs: vec![STOCK.to_owned()],
        owns: Vec::new(),
        troubles: Vec::new(),
    };
    let known = async || store.registry().processes().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(known().await, []);
    let troubled = ProcessTrouble { read_model: STOCK.to_owned(), cause: "it is 'broken'".to_owned(), passes: false };
    let second = ProcessReport { troubles: vec![troubled], ..report(2) };
    for told in [&report(1), &report(2), &second, &report(1)] {
        store.registry().tell_of_process(told).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let found = known().await;
    assert_eq!(found.iter().map(|process| &process.report).collect::<Vec<_>>(), [&report(1), &second]);
    assert!(found.iter().all(|process| process.is_alive() && process.keeps(STOCK) && !process.keeps("another")));
    store.registry().forget_process(&second.id).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(known().await.len(), 1);
    // However many there were, only so many are remembered: the last that were heard of.
    let many = i64::from(limits::PROCESSES_KNOWN_MAX) + 2;
    for number in 1..=many {
        store.registry().tell_of_process(&report(number)).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let found = known().await;
    assert_eq!(found.len(), limits::PROCESSES_KNOWN_MAX as usize);
    assert_eq!(found.last().map(|process| &process.report), Some(&report(many)));
}
