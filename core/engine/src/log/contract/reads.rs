//! Promises about reading, and about `meta`.

use std::sync::Arc;

use annals_model::position::{Checkpoint, ContextPartition, Offset, RecordOffset};

use super::records::TestRecords;
use super::{TestOwner, at, events, read_all};
use crate::log::checked::CheckedReader;
use crate::log::{EventLog, RawBatch, ReadError};

pub(super) async fn a_new_log_is_empty(log: Arc<dyn EventLog>) {
    let at = at(0, 0);
    assert!(read_all(&*log, at, Offset::START).await.is_empty());
    let mut reader = log.reader(at, Offset::START).await.unwrap_or_else(|error| panic!("reader: {error}"));
    let mut batch = RawBatch::default();
    reader.next(&mut batch).await.unwrap_or_else(|error| panic!("read: {error}"));
    assert!(batch.is_empty());
}

pub(super) async fn a_reader_starts_exactly_where_it_is_told(log: Arc<dyn EventLog>) {
    let at = at(0, 0);
    let (owner, ..) = TestOwner::claim(&*log, at, "one").await.append(&[3, 2]).await;
    let (owner, ..) = owner.append(&[1]).await;
    owner.append(&[7]).await;
    let all = read_all(&*log, at, Offset::START).await;
    for (index, (offset, _)) in all.iter().enumerate() {
        assert_eq!(read_all(&*log, at, offset.at()).await, all[index..], "from {offset} on");
        assert_eq!(read_all(&*log, at, offset.after()).await, all[index + 1..], "behind {offset}");
    }
    // Single records, in any order.
    let wanted = [all[9].0, all[2].0, all[3].0, all[12].0, all[2].0];
    let found = log.read_each(at, &wanted).await.unwrap_or_else(|error| panic!("read: {error}"));
    let expected: Vec<_> = [9, 2, 3, 12, 2].into_iter().map(|index: usize| &all[index].1[..]).collect();
    assert_eq!(found.iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), expected);
    let run = log.read_run(at, all[1].0, 3).await.unwrap_or_else(|error| panic!("read: {error}"));
    assert_eq!(run.iter().map(|(offset, _)| offset).collect::<Vec<_>>(), [all[1].0, all[2].0, all[3].0]);
    let behind = all.last().unwrap_or_else(|| unreachable!("records were written")).0.after();
    let missing = log.read_each(at, &[RecordOffset(behind.0)]).await;
    assert!(missing.is_err(), "a record that is not there was read");
}

pub(super) async fn a_position_beyond_the_end_is_refused(log: Arc<dyn EventLog>) {
    let at = at(1, 0);
    TestOwner::claim(&*log, at, "one").await.append(&[2]).await;
    let end = log.end(at).await.unwrap_or_else(|error| panic!("end: {error}"));
    let beyond = Offset(end.0 + 1);
    let from = Checkpoint { offset: beyond, ..Checkpoint::default() };
    match CheckedReader::open(&*log, at, from).await {
        Err(ReadError::BeyondEnd { position, .. }) => assert_eq!(position, beyond),
        other => panic!("a position beyond the end ended as {other:?}"),
    }
    log.reader(at, end).await.unwrap_or_else(|error| panic!("the end itself is a position: {error}"));
}

pub(super) async fn the_end_is_reached_by_reading(log: Arc<dyn EventLog>) {
    let at = at(0, 1);
    let mut owner = TestOwner::claim(&*log, at, "one").await;
    for _ in 0..10 {
        let positions;
        (owner, _, positions) = owner.append(&[2]).await;
        let end = log.end(at).await.unwrap_or_else(|error| panic!("end: {error}"));
        assert!(positions.iter().all(|position| position.after() <= end), "the end covers what is durable");
        // `read_all` ends only when the reader's position has reached the end.
        let read = read_all(&*log, at, Offset::START).await;
        assert_eq!(events(&read).len() as u64, owner.records.ordinal.0);
        let last = log.last_ordinal(at).await.unwrap_or_else(|error| panic!("last ordinal: {error}"));
        assert_eq!(last, owner.records.ordinal);
    }
}

pub(super) async fn a_waiting_reader_wakes_up(log: Arc<dyn EventLog>) {
    let at = at(0, 0);
    let mut owner = TestOwner::claim(&*log, at, "one").await;
    let mut reader = log.reader(at, Offset::START).await.unwrap_or_else(|error| panic!("reader: {error}"));
    // There is something to read already.
    reader.wait().await.unwrap_or_else(|error| panic!("wait: {error}"));
    let reading = tokio::spawn(async move {
        let mut batch = RawBatch::default();
        let mut seen = 0;
        while seen < 50 {
            reader.next(&mut batch).await.unwrap_or_else(|error| panic!("read: {error}"));
            let records: Vec<_> = batch.iter().map(|(offset, bytes)| (offset, bytes.to_vec())).collect();
            seen += events(&records).len();
            if batch.is_empty() {
                reader.wait().await.unwrap_or_else(|error| panic!("wait: {error}"));
            }
        }
        seen
    });
    for _ in 0..50 {
        (owner, ..) = owner.append(&[1]).await;
        tokio::task::yield_now().await;
    }
    let seen = reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    assert_eq!(seen, 50);
}

pub(super) async fn a_tail_delivers_everything_as_it_comes(log: Arc<dyn EventLog>) {
    let at = at(1, 0);
    let mut owner = TestOwner::claim(&*log, at, "one").await;
    (owner, ..) = owner.append(&[2, 1]).await;
    let from = read_all(&*log, at, Offset::START).await[1].0.at();
    let mut tail = log.tail(at, from).await.unwrap_or_else(|error| panic!("tail: {error}"));
    let mut seen = Vec::new();
    for _ in 0..10 {
        let end = log.end(at).await.unwrap_or_else(|error| panic!("end: {error}"));
        let mut batch = RawBatch::default();
        while tail.position() < end {
            tail.next(&mut batch).await.unwrap_or_else(|error| panic!("read: {error}"));
            seen.extend(batch.iter().map(|(offset, bytes)| (offset, bytes.to_vec())));
            if batch.is_empty() {
                tail.wait().await.unwrap_or_else(|error| panic!("wait: {error}"));
            }
        }
        (owner, ..) = owner.append(&[1]).await;
    }
    let read = read_all(&*log, at, from).await;
    assert_eq!(seen, read[..read.len() - 1], "the last one was not waited for");
    assert!(log.tail(at, Offset(u64::MAX / 4)).await.is_err(), "a tail beyond the end");
}

pub(super) async fn a_checked_reader_delivers_whole_commands_and_resumes_anywhere(log: Arc<dyn EventLog>) {
    let at = at(1, 1);
    let mut records = TestRecords::new(at, log.partitions(at.context));
    for name in ["first", "second", "third"] {
        let mut owner = TestOwner::claim(&*log, at, name).await;
        owner.records = records.claimed(owner.claim_epoch());
        let (owner, ..) = owner.append(&[3, 1, 2]).await;
        let (owner, ..) = owner.append(&[1, 4]).await;
        records = owner.records;
    }
    let ordinal = records.ordinal;
    let (all, checkpoints) = read_checked(&*log, at, Checkpoint::default()).await;
    assert_eq!(all, (1..=ordinal.0).collect::<Vec<_>>(), "every ordinal once, in order");
    for checkpoint in checkpoints {
        let (rest, _) = read_checked(&*log, at, checkpoint).await;
        assert_eq!(rest, (checkpoint.ordinal.0 + 1..=ordinal.0).collect::<Vec<_>>(), "from {checkpoint:?}");
    }
}

/// Ordinals delivered, and the checkpoint after each batch.
async fn read_checked(log: &dyn EventLog, at: ContextPartition, from: Checkpoint) -> (Vec<u64>, Vec<Checkpoint>) {
    let end = log.end(at).await.unwrap_or_else(|error| panic!("end: {error}"));
    let mut reader = CheckedReader::open(log, at, from).await.unwrap_or_else(|error| panic!("open: {error}"));
    let mut ordinals = Vec::new();
    let mut checkpoints = Vec::new();
    while reader.checkpoint().offset < end {
        let Some(batch) = reader.next().await.unwrap_or_else(|error| panic!("read: {error}")) else { continue };
        if let Some(last) = batch.records.last() {
            assert!(last.ends_commit(), "a batch ends inside a command");
            assert_eq!(batch.checkpoint.ordinal, last.envelope.ordinal);
        }
        ordinals.extend(batch.records.iter().map(|record| record.envelope.ordinal.0));
        checkpoints.push(batch.checkpoint);
    }
    assert_eq!(reader.voided(), 0);
    (ordinals, checkpoints)
}

pub(super) async fn meta_is_written_read_and_listed(log: Arc<dyn EventLog>) {
    async fn put(log: &dyn EventLog, key: &str, value: &[u8]) {
        log.meta_put(key, value).await.unwrap_or_else(|error| panic!("meta: {error}"));
    }
    async fn get(log: &dyn EventLog, key: &str) -> Option<Vec<u8>> {
        log.meta_get(key).await.unwrap_or_else(|error| panic!("meta: {error}"))
    }
    assert_eq!(get(&*log, "schema.1").await, None);
    put(&*log, "schema.1", b"one").await;
    put(&*log, "schema.2", &[0, 255, 3]).await;
    put(&*log, "schemb", b"").await;
    put(&*log, "owner.1", b"somewhere").await;
    put(&*log, "schema.1", b"other").await;
    assert_eq!(get(&*log, "schema.1").await.as_deref(), Some(&b"other"[..]));
    assert_eq!(get(&*log, "schemb").await.as_deref(), Some(&b""[..]));
    let listed = log.meta_list("schema.").await.unwrap_or_else(|error| panic!("meta: {error}"));
    assert_eq!(listed, [("schema.1".to_owned(), b"other".to_vec()), ("schema.2".to_owned(), vec![0, 255, 3])]);
    assert!(log.meta_put("log.id", b"x").await.is_err(), "the log's own entries are not for its users");
}
