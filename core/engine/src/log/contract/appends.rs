//! Promises about appends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use annals_model::position::Offset;
use futures_util::future::join_all;

use super::{TestOwner, at, durable, events, read_all};
use crate::limits;
use crate::log::{AppendBatch, AppendOutcome, EventLog, RawBatch};

pub(super) async fn an_append_is_read_back_in_order_at_its_positions(log: Arc<dyn EventLog>) {
    let at = at(0, 0);
    let mut owner = TestOwner::claim(&*log, at, "one").await;
    let mut expected = Vec::new();
    for commits in [&[1][..], &[2, 1, 3], &[40], &[1; 64]] {
        let (next, batch, positions) = owner.append(commits).await;
        owner = next;
        assert_eq!(positions.len(), batch.len(), "one position per record");
        expected.extend(positions.into_iter().zip(batch.iter().map(<[u8]>::to_vec)));
    }
    assert!(expected.is_sorted_by(|a, b| a.0 < b.0), "positions increase");
    let read = read_all(&*log, at, Offset::START).await;
    assert!(read.is_sorted_by(|a, b| a.0 < b.0), "offsets increase");
    let expected: Vec<_> = expected.iter().map(|(offset, bytes)| (*offset, &bytes[..])).collect();
    assert_eq!(events(&read), expected, "what is read is what was appended, where it was said to lie");
}

pub(super) async fn an_append_is_seen_whole_or_not_at_all(log: Arc<dyn EventLog>) {
    const RECORDS: u16 = 25;
    let at = at(0, 1);
    let mut owner = TestOwner::claim(&*log, at, "one").await;
    let done = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (log, done) = (Arc::clone(&log), Arc::clone(&done));
        async move {
            let mut reader = log.reader(at, Offset::START).await.unwrap_or_else(|error| panic!("reader: {error}"));
            let mut batch = RawBatch::default();
            let mut seen = 0;
            loop {
                let last_round = done.load(Ordering::SeqCst);
                reader.next(&mut batch).await.unwrap_or_else(|error| panic!("read: {error}"));
                let records: Vec<_> = batch.iter().map(|(offset, bytes)| (offset, bytes.to_vec())).collect();
                seen += events(&records).len();
                if batch.is_empty() {
                    assert_eq!(seen % usize::from(RECORDS), 0, "part of an append was seen at the end");
                    if last_round {
                        return seen;
                    }
                }
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..40 {
        (owner, ..) = owner.append(&[RECORDS]).await;
    }
    done.store(true, Ordering::SeqCst);
    let seen = watcher.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    assert_eq!(seen, 40 * usize::from(RECORDS), "everything was seen");
}

pub(super) async fn a_dropped_append_is_there_whole_or_not_at_all(log: Arc<dyn EventLog>) {
    let at = at(0, 0);
    for polls in 0..6 {
        let before = events(&read_all(&*log, at, Offset::START).await).len();
        let TestOwner { writer, mut records, .. } = TestOwner::claim(&*log, at, "dropped").await;
        records.ordinal.0 = before as u64;
        let mut append = writer.append(records.batch(&[5]));
        for _ in 0..polls {
            // Polled a few times, then dropped, wherever that is.
            let ended = std::future::poll_fn(|context| Poll::Ready(append.as_mut().poll(context).is_ready())).await;
            if ended {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(append);
        let _ = TestOwner::claim(&*log, at, "next").await;
        let after = events(&read_all(&*log, at, Offset::START).await).len();
        assert!(after == before || after == before + 5, "{} of 5 records of a dropped append", after - before);
    }
}

pub(super) async fn appends_of_many_partitions_do_not_meet(log: Arc<dyn EventLog>) {
    let tasks = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)].map(|at| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut owner = TestOwner::claim(&*log, at, "one").await;
            let mut expected = Vec::new();
            for round in 0..30 {
                let (next, batch, positions) = owner.append(&vec![1 + round % 3; 1 + usize::from(round)]).await;
                owner = next;
                expected.extend(positions.into_iter().zip(batch.iter().map(<[u8]>::to_vec)));
            }
            (at, expected)
        })
    });
    for task in join_all(tasks).await {
        let (at, expected) = task.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let read = read_all(&*log, at, Offset::START).await;
        let expected: Vec<_> = expected.iter().map(|(offset, bytes)| (*offset, &bytes[..])).collect();
        assert!(events(&read) == expected, "{at}: read and appended differ");
    }
}

pub(super) async fn an_append_that_cannot_be_is_aborted_and_the_writer_stays(log: Arc<dyn EventLog>) {
    let at = at(1, 0);
    let TestOwner { mut writer, mut records, .. } = TestOwner::claim(&*log, at, "one").await;
    let fresh = records.clone();
    let mut too_large = AppendBatch::default();
    while too_large.bytes_len() <= limits::APPEND_BYTES_MAX {
        records.commit(&mut too_large, 4, 200_000);
    }
    let mut of_another_claim = fresh.clone();
    of_another_claim.claim_epoch.0 += 1;
    let mut split = fresh.clone().batch(&[3]);
    split.truncate(2);
    let refused = [too_large, AppendBatch::default(), of_another_claim.batch(&[1]), split];
    for batch in refused {
        writer = match writer.append(batch).await {
            AppendOutcome::Aborted { writer, .. } => writer,
            other => panic!("append that cannot be ended as {other:?}"),
        };
    }
    assert!(events(&read_all(&*log, at, Offset::START).await).is_empty(), "an aborted append wrote something");
    let mut records = fresh;
    let mut largest = AppendBatch::default();
    while largest.bytes_len() + 200_500 <= limits::APPEND_BYTES_MAX {
        records.commit(&mut largest, 1, 200_000);
    }
    let (_, positions) = durable(writer.append(largest.clone()).await);
    let read = read_all(&*log, at, Offset::START).await;
    let expected: Vec<_> = positions.into_iter().zip(largest.iter()).collect();
    assert!(events(&read) == expected, "a large append is read back");
}
