//! Promises about ownership.

use std::sync::Arc;

use annals_model::engine_record::Claim;
use annals_model::ids::Partition;
use annals_model::position::{ClaimEpoch, ContextPartition, Offset};
use futures_util::future::join_all;

use super::{CONTEXTS, TestOwner, at, events, owner, read_all};
use crate::log::{AppendOutcome, ClaimError, EventLog, ProofOutcome};

pub(super) async fn a_claim_fences_every_writer_before_it(log: Arc<dyn EventLog>) {
    let at = at(0, 0);
    let (first, ..) = TestOwner::claim(&*log, at, "first").await.append(&[2]).await;
    let second = TestOwner::claim(&*log, at, "second").await;
    let mut third = TestOwner::claim(&*log, at, "third").await;
    third.records.ordinal = first.records.ordinal;
    assert!(first.claim_epoch() < second.claim_epoch(), "claims are ordered");
    assert!(second.claim_epoch() < third.claim_epoch(), "claims are ordered");
    let before = read_all(&*log, at, Offset::START).await;
    for mut zombie in [first, second] {
        zombie.records.ordinal = third.records.ordinal;
        let outcome = zombie.writer.append(zombie.records.batch(&[3])).await;
        assert!(matches!(outcome, AppendOutcome::Fenced), "a zombie's append ended as {outcome:?}");
    }
    assert_eq!(read_all(&*log, at, Offset::START).await, before, "a zombie's append became visible");
    let (_, _, positions) = third.append(&[3]).await;
    assert_eq!(positions.len(), 3, "the newest owner appends");
}

pub(super) async fn of_claims_at_the_same_time_the_newest_wins(log: Arc<dyn EventLog>) {
    let at = at(0, 1);
    let claims = (0..8).map(|number| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { TestOwner::claim(&*log, at, &number.to_string()).await })
    });
    let mut owners: Vec<_> = join_all(claims)
        .await
        .into_iter()
        .map(|claim| claim.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
        .collect();
    owners.sort_by_key(TestOwner::claim_epoch);
    let newest = owners.pop().unwrap_or_else(|| unreachable!("eight claims were made"));
    for mut zombie in owners {
        assert!(zombie.claim_epoch() < newest.claim_epoch(), "two claims have one epoch");
        let outcome = zombie.writer.append(zombie.records.batch(&[1])).await;
        assert!(matches!(outcome, AppendOutcome::Fenced), "an older claim's append ended as {outcome:?}");
    }
    newest.append(&[1]).await;
}

pub(super) async fn the_barrier_covers_the_claim_and_all_before_it(log: Arc<dyn EventLog>) {
    let at = at(1, 1);
    let (first, ..) = TestOwner::claim(&*log, at, "first").await.append(&[1, 1]).await;
    let second = TestOwner::claim(&*log, at, "second").await;
    let read = read_all(&*log, at, Offset::START).await;
    assert_eq!(events(&read).len(), 2);
    let claims: Vec<_> = read
        .iter()
        .filter_map(|(offset, bytes)| {
            let claim = Claim::decode(bytes).unwrap_or_else(|error| panic!("claim: {error}"))?;
            Some((ClaimEpoch(offset.after().0), claim.owner_id.to_owned(), *offset))
        })
        .collect();
    let expected = [(first.claim_epoch(), "first"), (second.claim_epoch(), "second")];
    assert!(
        claims.iter().map(|(epoch, owner, _)| (*epoch, &owner[..])).eq(expected),
        "a claim's epoch is its position, its record names its owner: {claims:?}"
    );
    let last = read.last().unwrap_or_else(|| unreachable!("two claims were read"));
    assert!(second.barrier >= last.0.after(), "the barrier covers what was written before it");
    let mut reader = log.reader(at, Offset::START).await.unwrap_or_else(|error| panic!("reader: {error}"));
    let mut batch = crate::log::RawBatch::default();
    while reader.position() < second.barrier {
        reader.next(&mut batch).await.unwrap_or_else(|error| panic!("read: {error}"));
    }
}

pub(super) async fn a_proof_tells_the_owner_from_a_zombie(log: Arc<dyn EventLog>) {
    let at = at(0, 0);
    let first = TestOwner::claim(&*log, at, "first").await;
    let first = match first.writer.prove().await {
        ProofOutcome::Owner { writer } => writer,
        other => panic!("the owner's proof ended as {other:?}"),
    };
    let second = TestOwner::claim(&*log, at, "second").await;
    let zombie = first.prove().await;
    assert!(matches!(zombie, ProofOutcome::Fenced), "a zombie's proof ended as {zombie:?}");
    let proof = second.writer.prove().await;
    assert!(matches!(proof, ProofOutcome::Owner { .. }), "the new owner's proof ended as {proof:?}");
}

pub(super) async fn an_unknown_partition_cannot_be_claimed(log: Arc<dyn EventLog>) {
    let context = CONTEXTS[0];
    let partition = Partition(log.partitions(context));
    assert!(partition.0 >= 2, "a log under test has two partitions or more");
    let outcome = log.claim(ContextPartition { context, partition }, owner("one")).await;
    assert!(matches!(outcome, Err(ClaimError::NoSuchPartition(_))), "ended as {outcome:?}");
}
