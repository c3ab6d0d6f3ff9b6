//! A checkpoint that is not what the log says: who is at fault.

use annals_model::position::ClaimEpoch;
use annals_model::time::Timestamp;

use super::*;
use crate::sink::{SinkError, false_checkpoint};

/// The checkpoint of the first partition after `events`, and the log that has so many.
async fn checkpointed(seed: u64, events: usize) -> (World, Generation, Checkpoint) {
    let mut world = World::new(seed);
    let live = world.live().await;
    world.append(0, events, Shop::event).await;
    world.settle_and_compare(&live).await;
    let stored = world.store.open(&live).await.unwrap().checkpoints().await.unwrap();
    let at = world.owners[0].0.at();
    (world, live, stored.get(at))
}

/// What a runner says of a generation whose checkpoint was changed from one to another.
async fn said_of(world: &World, live: &Generation, from: Checkpoint, to: Checkpoint) -> RunnerFailure {
    let mut sink = world.store.open(live).await.unwrap();
    let at = world.owners[0].0.at();
    sink.commit(&stock::new_tables(&stock::stock_v1()), at, from, to).await.unwrap();
    let mut runner = start(world.log.clone(), stock::stock_v1(), live.clone(), sink);
    failure(&mut runner.progress).await
}

/// Makes a checkpoint another one.
type Forge = fn(Checkpoint) -> Checkpoint;

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_no_history_has_is_told_from_a_log_that_was_shortened() {
    let offset = Offset(1_000_000);
    let later = |from: Checkpoint| Timestamp(from.emitted_at.0 + 5);
    let forgeries: [(&str, Forge); 9] = [
        ("beyond the end", |from| Checkpoint { offset: Offset(1_000_000), ..from }),
        ("beyond the end, with as many events", |from| Checkpoint {
            offset: Offset(1_000_000),
            ordinal: Ordinal(from.ordinal.0 + 900),
            ..from
        }),
        ("more events than places", |from| Checkpoint {
            ordinal: Ordinal(1_000_001),
            offset: Offset(1_000_000),
            ..from
        }),
        ("a claim that was not passed", |from| Checkpoint { claim_epoch: ClaimEpoch(from.offset.0 + 1), ..from }),
        ("an event without a time", |from| Checkpoint {
            offset: Offset(1_000_000),
            emitted_at: Timestamp::default(),
            ..from
        }),
        ("another claim", |from| Checkpoint { claim_epoch: ClaimEpoch(from.claim_epoch.0 + 1), ..from }),
        ("one event more", |from| Checkpoint { ordinal: from.ordinal.next(), ..from }),
        ("some events back", |from| Checkpoint { offset: Offset(from.offset.0 - 3), ..from }),
        ("both, and both wrong", |from| Checkpoint {
            offset: Offset(from.offset.0 - 1),
            ordinal: Ordinal(from.ordinal.0 - 3),
            ..from
        }),
    ];
    for (what, forge) in forgeries {
        let (mut world, live, from) = checkpointed(5, 400).await;
        let failure = said_of(&world, &live, from, forge(from)).await;
        let text = failure.to_string();
        assert!(matches!(failure, RunnerFailure::Sink(SinkError::Damaged { .. })), "{what}: {text}");
        assert!(text.contains("the log is whole, the checkpoint is false; rebuild the read model"), "{what}: {text}");
        assert!(!text.contains("restore"), "{what}: {text}");
        // The log has gone on meanwhile, as it does.
        world.append(0, 300, Shop::event).await;
        let at = world.owners[0].0.at();
        let cause = false_checkpoint(&*world.log, at, forge(from)).await.unwrap();
        assert!(cause.is_some_and(|cause| cause.contains("the log is whole")), "{what}");
        assert_eq!(false_checkpoint(&*world.log, at, from).await.unwrap(), None, "{what}");
    }
    // Without the event of that time, the log may have lost it.
    let (world, live, from) = checkpointed(5, 5).await;
    let lost = Checkpoint { offset, ordinal: Ordinal(from.ordinal.0 + 1), emitted_at: later(from), ..from };
    let failure = said_of(&world, &live, from, lost).await;
    assert!(matches!(failure, RunnerFailure::Log(ReadError::BeyondEnd { .. })), "{failure}");
    // And if it has grown over that place since, what is there is another history: no runner goes on with both.
    let (world, live, from) = checkpointed(5, 5).await;
    let overgrown = Checkpoint { emitted_at: later(from), ..from };
    let text = said_of(&world, &live, from, overgrown).await.to_string();
    assert!(text.contains("replaced by an older copy and has grown since; rebuild the read model"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn every_checkpoint_of_a_reader_is_what_the_log_says() {
    for seed in 0..20 {
        let (mut world, mut random) = (World::new(seed), Random::new(seed));
        for _ in 0..30 {
            if random.below(4) == 0 {
                world.owners[0].1 = None;
            }
            world.append(0, 1 + random.below(40) as usize, Shop::event).await;
        }
        let at = world.owners[0].0.at();
        let mut reader = CheckedReader::open(&*world.log, at, Checkpoint::default()).await.unwrap();
        loop {
            let cause = false_checkpoint(&*world.log, at, reader.checkpoint()).await.unwrap();
            assert_eq!(cause, None, "seed {seed}: {:?}", reader.checkpoint());
            if reader.next().await.unwrap().is_none() {
                break;
            }
        }
    }
}
