use std::sync::Arc;

use annals_model::envelope::{Envelope, Record, put_frame};
use annals_model::ids::{ContextId, Partition};
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, Offset, RecordOffset};
use proptest::prelude::*;

use super::CheckedReader;
use crate::log::contract::records::TestRecords;
use crate::log::memory::{MemoryLog, MemoryOptions};
use crate::log::{AppendBatch, EventLog, ReadError};

const CONTEXT: ContextId = ContextId { number: 9, name: "things" };
const AT: ContextPartition = ContextPartition { context: CONTEXT, partition: Partition(0) };

/// A log whose partition is claimed, and records of that claim.
fn claimed() -> (Arc<MemoryLog>, TestRecords) {
    let log = MemoryLog::new(&[CONTEXT]);
    let claim_epoch = log.claim_by_rival(AT);
    let records = TestRecords::new(AT, log.partitions(CONTEXT)).claimed(claim_epoch);
    (log, records)
}

fn push(log: &MemoryLog, batch: &AppendBatch) -> Vec<RecordOffset> {
    batch.iter().map(|bytes| log.push_unchecked(AT, bytes)).collect()
}

fn changed(batch: &AppendBatch, index: usize, change: impl Fn(&mut Envelope<'_>)) -> AppendBatch {
    let mut all = AppendBatch::default();
    for (number, bytes) in batch.iter().enumerate() {
        let mut record = Record::decode(RecordOffset(0), bytes).unwrap();
        if number == index {
            change(&mut record.envelope);
        }
        all.push(|out| {
            put_frame(out, record.schema);
            record.envelope.encode(out);
            out.extend_from_slice(record.payload);
        });
    }
    all
}

async fn reader(log: &MemoryLog) -> CheckedReader {
    CheckedReader::open(log, AT, Checkpoint::default()).await.unwrap()
}

/// Ordinals up to the end or the first error.
async fn read(reader: &mut CheckedReader) -> (Vec<u64>, Option<ReadError>) {
    let mut ordinals = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(batch)) => ordinals.extend(batch.records.iter().map(|record| record.envelope.ordinal.0)),
            Ok(None) => return (ordinals, None),
            Err(error) => return (ordinals, Some(error)),
        }
    }
}

#[tokio::test]
async fn records_of_an_older_claim_are_dropped_and_counted() {
    let (log, mut records) = claimed();
    push(&log, &records.batch(&[2]));
    let mut zombie = records.clone();
    let claim_epoch = log.claim_by_rival(AT);
    push(&log, &zombie.batch(&[3]));
    let mut records = records.claimed(claim_epoch);
    let last = push(&log, &records.batch(&[1]));
    push(&log, &zombie.batch(&[1]));
    let mut reader = reader(&log).await;
    assert_eq!(read(&mut reader).await, (vec![1, 2, 3], None));
    assert_eq!(reader.voided(), 4);
    let checkpoint = reader.checkpoint();
    assert!(checkpoint.offset > last[0].after(), "dropped records are passed");
    assert_eq!(checkpoint.claim_epoch, claim_epoch);
}

#[tokio::test]
async fn a_reader_that_starts_in_the_middle_drops_the_same_records() {
    let (log, mut records) = claimed();
    let mut zombie = records.clone();
    let claim_epoch = log.claim_by_rival(AT);
    let mut resumed = reader(&log).await;
    assert!(resumed.next().await.unwrap().unwrap().records.is_empty(), "only claims so far");
    let checkpoint = resumed.checkpoint();
    assert_eq!(checkpoint.claim_epoch, claim_epoch);
    push(&log, &zombie.batch(&[1]));
    records = records.claimed(claim_epoch);
    push(&log, &records.batch(&[1]));
    let mut resumed = CheckedReader::open(&*log, AT, checkpoint).await.unwrap();
    assert_eq!(read(&mut resumed).await, (vec![1], None));
    assert_eq!(resumed.voided(), 1);
}

#[tokio::test]
async fn a_command_that_is_half_there_is_held_back_until_it_is_whole() {
    let (log, mut records) = claimed();
    let batch = records.batch(&[1, 3]);
    let all: Vec<_> = batch.iter().collect();
    let mut reader = reader(&log).await;
    let mut offsets = Vec::new();
    for (pushed, seen) in [(0, vec![1]), (1, vec![]), (2, vec![]), (3, vec![2, 3, 4])] {
        offsets.push(log.push_unchecked(AT, all[pushed]));
        assert_eq!(read(&mut reader).await, (seen, None), "after record {pushed}");
        let whole = if pushed == 3 { 3 } else { 0 };
        assert_eq!(reader.checkpoint().offset, offsets[whole].after(), "a checkpoint never splits a command");
    }
}

#[tokio::test]
async fn a_checkpoint_passes_holes_at_the_end() {
    for seed in 0..20 {
        let options = MemoryOptions { holes_seed: Some(seed), ..MemoryOptions::default() };
        let log = MemoryLog::with_options(&[CONTEXT], options);
        log.claim_by_rival(AT);
        let mut reader = reader(&log).await;
        read(&mut reader).await;
        assert_eq!(reader.checkpoint().offset, log.end(AT).await.unwrap());
    }
}

/// What a reader says about a log with this after two good records, which must be delivered first.
async fn said(broken: impl FnOnce(&mut TestRecords) -> AppendBatch) -> String {
    let (log, mut records) = claimed();
    let good = push(&log, &records.batch(&[2]));
    push(&log, &broken(&mut records));
    let mut reader = reader(&log).await;
    let (ordinals, error) = read(&mut reader).await;
    assert_eq!(ordinals, [1, 2], "what is whole before the break is delivered");
    assert_eq!(reader.checkpoint().offset, good[1].after());
    let error = error.expect("the break is found");
    assert_eq!(reader.next().await.unwrap_err(), error, "a break stays");
    reader.wait().await.unwrap();
    error.to_string()
}

#[tokio::test]
async fn breaks_are_named_with_both_positions() {
    let text = said(|records| changed(&records.batch(&[1]), 0, |envelope| envelope.ordinal.0 = 5)).await;
    assert!(text.contains("ordinal 5 where 3 follows between offsets 3 and 3"), "{text}");
    let text = said(|records| changed(&records.batch(&[1]), 0, |envelope| envelope.ordinal.0 = 2)).await;
    assert!(text.contains("ordinal 2 where 3 follows"), "{text}");
    let text = said(|records| changed(&records.batch(&[1]), 0, |envelope| envelope.emitted_at.0 -= 100)).await;
    assert!(text.contains("emitted_at"), "{text}");
    let text = said(|records| changed(&records.batch(&[1]), 0, |envelope| envelope.claim_epoch.0 += 1)).await;
    assert!(text.contains("a record of claim 2, the newest claim is 1"), "{text}");
    let text = said(|records| {
        let mut batch = records.batch(&[3]);
        batch.truncate(2);
        records.ordinal.0 -= 1;
        records.batch(&[1]).iter().for_each(|bytes| batch.push(|out| out.extend_from_slice(bytes)));
        batch
    })
    .await;
    assert!(text.contains("an incomplete command: 2 of 3 events"), "{text}");
    let text = said(|records| {
        let batch = records.batch(&[2]);
        let mut tail = AppendBatch::default();
        let second = changed(&batch, 1, |envelope| envelope.ordinal.0 -= 1);
        second.iter().skip(1).for_each(|bytes| tail.push(|out| out.extend_from_slice(bytes)));
        tail
    })
    .await;
    assert!(text.contains("a command's events from number 2 on"), "{text}");
    let text = said(|records| changed(&records.batch(&[3]), 1, |envelope| envelope.commit_size = 4)).await;
    assert!(text.contains("event 2 of 4 of a command where 2 of 3 follows"), "{text}");
    let text = said(|_| {
        let mut batch = AppendBatch::default();
        batch.push(|out| out.extend_from_slice(b"\0\0\0\0\x07nonsense"));
        batch
    })
    .await;
    assert!(text.contains("corrupt record at offset 3"), "{text}");
}

#[tokio::test]
async fn a_claim_inside_a_command_is_a_break() {
    let (log, mut records) = claimed();
    let batch = records.batch(&[2]);
    log.push_unchecked(AT, batch.iter().next().unwrap());
    log.claim_by_rival(AT);
    let (_, error) = read(&mut reader(&log).await).await;
    assert!(error.unwrap().to_string().contains("a claim inside a command's events"));
}

#[tokio::test]
async fn an_incomplete_command_larger_than_any_append_is_not_waited_for() {
    let (log, mut records) = claimed();
    let mut batch = AppendBatch::default();
    records.commit(&mut batch, 20, 200_000);
    batch.truncate(19);
    push(&log, &batch);
    let (_, error) = read(&mut reader(&log).await).await;
    assert!(error.unwrap().to_string().contains("larger than any append"));
}

#[tokio::test]
async fn a_position_beyond_the_end_is_refused() {
    let (log, _) = claimed();
    let from = Checkpoint { offset: Offset(99), claim_epoch: ClaimEpoch(1), ..Checkpoint::default() };
    assert!(matches!(CheckedReader::open(&*log, AT, from).await, Err(ReadError::BeyondEnd { .. })));
}

proptest! {
    #[test]
    fn every_log_is_read_whole_in_any_pieces(
        commits in prop::collection::vec(1u16..6, 1..40),
        claims in prop::collection::vec(any::<bool>(), 40),
        read_records_max in 1usize..9,
        holes_seed in any::<Option<u64>>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let options = MemoryOptions { holes_seed, read_records_max, ..MemoryOptions::default() };
            let log = MemoryLog::with_options(&[CONTEXT], options);
            let mut records = TestRecords::new(AT, 4).claimed(log.claim_by_rival(AT));
            for (events, claim) in commits.iter().zip(claims) {
                if claim {
                    records = records.claimed(log.claim_by_rival(AT));
                }
                push(&log, &records.batch(&[*events]));
            }
            let all: Vec<u64> = (1..=records.ordinal.0).collect();
            let mut reader = reader(&log).await;
            let mut seen = Vec::new();
            while seen.len() < all.len() {
                // Resumes from the checkpoint every time: what it lacks would show.
                let batch = reader.next().await.unwrap().expect("not at the end yet");
                seen.extend(batch.records.iter().map(|record| record.envelope.ordinal.0));
                if !batch.records.is_empty() {
                    reader = CheckedReader::open(&*log, AT, batch.checkpoint).await.unwrap();
                }
            }
            assert_eq!(seen, all);
        });
    }
}
