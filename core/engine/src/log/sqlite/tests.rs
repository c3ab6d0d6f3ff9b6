mod damage;

use std::path::Path;
use std::sync::Arc;

use annals_model::ids::{ContextId, Partition};
use annals_model::position::{Checkpoint, ContextPartition, Offset};

use super::{OpenError, SqliteLog, SqliteOptions};
use crate::log::checked::CheckedReader;
use crate::log::contract::records::TestRecords;
use crate::log::{AppendOutcome, ClaimError, Claimed, EventLog, LogWriter, Owner, ReadError};

const CONTEXT: ContextId = ContextId { number: 9, name: "things" };
const AT: ContextPartition = ContextPartition { context: CONTEXT, partition: Partition(1) };

async fn open(path: &Path) -> Arc<SqliteLog> {
    SqliteLog::open(path, &[CONTEXT], SqliteOptions::default()).await.unwrap()
}

async fn claim(log: &SqliteLog) -> (Box<dyn LogWriter>, TestRecords) {
    let owner = Owner { id: "test".into(), address: String::new() };
    let Claimed { writer, .. } = log.claim(AT, owner).await.unwrap();
    let records = TestRecords::new(AT, log.partitions(CONTEXT)).claimed(writer.claim_epoch());
    (writer, records)
}

async fn append(writer: Box<dyn LogWriter>, records: &mut TestRecords, commits: &[u16]) -> Box<dyn LogWriter> {
    match writer.append(records.batch(commits)).await {
        AppendOutcome::Durable { writer, .. } => writer,
        other => panic!("{other:?}"),
    }
}

/// A closed log with `appends` appends of three events each.
async fn written(path: &Path, appends: usize) -> TestRecords {
    let log = open(path).await;
    let (mut writer, mut records) = claim(&log).await;
    for _ in 0..appends {
        writer = append(writer, &mut records, &[2, 1]).await;
    }
    log.close().await;
    records
}

async fn ordinals(log: &dyn EventLog, from: Checkpoint) -> Result<Vec<u64>, ReadError> {
    let mut reader = CheckedReader::open(log, AT, from).await?;
    let mut ordinals = Vec::new();
    while let Some(batch) = reader.next().await? {
        ordinals.extend(batch.records.iter().map(|record| record.envelope.ordinal.0));
    }
    Ok(ordinals)
}

#[tokio::test]
async fn a_log_opened_again_is_the_same_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    written(&path, 5).await;
    assert!(!directory.path().join("log.sqlite-wal").exists(), "closing copies everything into the file");
    let log = open(&path).await;
    let id = log.id();
    assert_eq!(ordinals(&*log, Checkpoint::default()).await.unwrap(), (1..=15).collect::<Vec<_>>());
    log.close().await;
    assert_eq!(open(&path).await.id(), id);
}

#[tokio::test]
async fn a_log_that_was_not_closed_has_everything_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("log.sqlite"), directory.path().join("copy.sqlite"));
    let log = open(&path).await;
    let (writer, mut records) = claim(&log).await;
    let _writer = append(writer, &mut records, &[3]).await;
    // What a killed process leaves behind: the file and its write-ahead log, as they are now.
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(directory.path().join("log.sqlite-wal"), directory.path().join("copy.sqlite-wal")).unwrap();
    let looking = SqliteLog::open_read_only(&copy, &[CONTEXT]).await.unwrap();
    assert_eq!(ordinals(&*looking, Checkpoint::default()).await.unwrap(), [1, 2, 3]);
    looking.close().await;
    assert_eq!(ordinals(&*open(&copy).await, Checkpoint::default()).await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn a_closed_log_refuses_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory.path().join("log.sqlite")).await;
    let (writer, mut records) = claim(&log).await;
    log.close().await;
    let outcome = writer.append(records.batch(&[1])).await;
    assert!(matches!(outcome, AppendOutcome::Aborted { .. }), "{outcome:?}");
    let claim = log.claim(AT, Owner { id: "late".into(), address: String::new() }).await;
    assert!(matches!(claim, Err(ClaimError::Unavailable(_))), "{claim:?}");
    assert!(matches!(log.end(AT).await, Err(ReadError::Unavailable(_))));
}

#[tokio::test]
async fn another_instance_sees_what_is_written_and_is_woken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let serving = open(&path).await;
    let looking = SqliteLog::open_read_only(&path, &[CONTEXT]).await.unwrap();
    assert_eq!(looking.id(), serving.id());
    let claimed = looking.claim(AT, Owner { id: "reader".into(), address: String::new() }).await;
    assert!(matches!(claimed, Err(ClaimError::Unavailable(_))), "{claimed:?}");
    let (mut writer, mut records) = claim(&serving).await;
    let reading = tokio::spawn(async move {
        let mut reader = CheckedReader::open(&*looking, AT, Checkpoint::default()).await.unwrap();
        let mut seen = 0;
        while seen < 20 {
            match reader.next().await.unwrap() {
                Some(batch) => seen += batch.records.len(),
                None => reader.wait().await.unwrap(),
            }
        }
    });
    for _ in 0..20 {
        writer = append(writer, &mut records, &[1]).await;
    }
    reading.await.unwrap();
}

#[tokio::test]
async fn a_context_is_added_and_a_changed_partition_count_refused() {
    const OTHER: ContextId = ContextId { number: 10, name: "others" };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let options = |count| SqliteOptions { partitions: Some(count), ..SqliteOptions::default() };
    SqliteLog::open(&path, &[CONTEXT], options(3)).await.unwrap().close().await;
    let error = SqliteLog::open(&path, &[CONTEXT], options(5)).await.unwrap_err();
    assert!(matches!(error, OpenError::PartitionCount { found: 3, wanted: 5, .. }), "{error}");
    let error = SqliteLog::open_read_only(&path, &[OTHER]).await.unwrap_err();
    assert!(matches!(error, OpenError::UnknownContext(_)), "{error}");
    let log = SqliteLog::open(&path, &[CONTEXT, OTHER], SqliteOptions::default()).await.unwrap();
    assert_eq!((log.partitions(CONTEXT), log.partitions(OTHER)), (3, 4));
    log.close().await;
    let renamed = ContextId { number: 10, name: "renamed" };
    let error = SqliteLog::open(&path, &[renamed], SqliteOptions::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::ContextRenamed { .. }), "{error}");
    for count in [0, 4_097] {
        let error = SqliteLog::open(&path, &[CONTEXT], options(count)).await.unwrap_err();
        assert!(matches!(error, OpenError::InvalidPartitionCount(_)), "{error}");
    }
}

#[tokio::test]
async fn a_position_of_a_longer_history_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    written(&path, 2).await;
    let from = Checkpoint { offset: Offset(1_000), ..Checkpoint::default() };
    assert!(matches!(ordinals(&*open(&path).await, from).await, Err(ReadError::BeyondEnd { .. })));
}

#[tokio::test]
async fn a_fenced_writer_is_left_out_of_its_group_alone() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory.path().join("log.sqlite")).await;
    let partitions: Vec<_> =
        (0..4).map(|number| ContextPartition { context: CONTEXT, partition: Partition(number) }).collect();
    for round in 0..20 {
        // All at once, so that they meet in groups; partition 3 belongs to somebody else by then.
        let mut appends = Vec::new();
        for at in &partitions {
            let owner = Owner { id: "test".into(), address: String::new() };
            let writer = log.claim(*at, owner).await.unwrap().writer;
            let mut records = TestRecords::new(*at, 4).claimed(writer.claim_epoch());
            records.ordinal.0 = if at.partition.0 == 3 { 0 } else { round };
            appends.push(writer.append(records.batch(&[1])));
        }
        log.claim(partitions[3], Owner { id: "newer".into(), address: String::new() }).await.unwrap();
        let outcomes = futures_util::future::join_all(appends).await;
        assert!(outcomes[..3].iter().all(|outcome| matches!(outcome, AppendOutcome::Durable { .. })), "{outcomes:?}");
        assert!(matches!(outcomes[3], AppendOutcome::Fenced), "{outcomes:?}");
    }
}

#[tokio::test]
async fn two_instances_on_one_file_fence_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let (one, two) = (open(&path).await, open(&path).await);
    let (writer, mut records) = claim(&one).await;
    let writer = append(writer, &mut records, &[1]).await;
    let (newer, _) = claim(&two).await;
    let mut newer_records = records.clone().claimed(newer.claim_epoch());
    assert!(matches!(writer.append(records.batch(&[1])).await, AppendOutcome::Fenced));
    append(newer, &mut newer_records, &[1]).await;
    assert_eq!(ordinals(&*one, Checkpoint::default()).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn an_append_that_does_not_continue_the_partition_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory.path().join("log.sqlite")).await;
    let (writer, mut records) = claim(&log).await;
    let mut ahead = records.clone();
    ahead.ordinal.0 = 7;
    let AppendOutcome::Aborted { writer, cause } = writer.append(ahead.batch(&[1])).await else {
        panic!("accepted a hole in ordinals")
    };
    assert_eq!(cause, "append starts at ordinal 8; the partition's last is 0");
    append(writer, &mut records, &[1]).await;
}

#[tokio::test]
async fn a_full_disk_aborts_appends_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let options = SqliteOptions { max_page_count: Some(60), ..SqliteOptions::default() };
    let log = SqliteLog::open(&path, &[CONTEXT], options).await.unwrap();
    let (mut writer, mut records) = claim(&log).await;
    let mut acknowledged = 0;
    let cause = loop {
        let before = records.clone();
        let batch = records.batch(&[50]);
        match writer.append(batch).await {
            AppendOutcome::Durable { writer: back, .. } => writer = back,
            AppendOutcome::Aborted { writer: back, cause } => {
                writer = back;
                records = before;
                break cause;
            }
            other => panic!("{other:?}"),
        }
        acknowledged += 50;
    };
    assert!(acknowledged > 0 && cause.contains("full"), "{cause}");
    // Still full: still nothing written, the writer still good, and everything acknowledged can be read.
    let outcome = writer.append(records.clone().batch(&[50])).await;
    assert!(matches!(outcome, AppendOutcome::Aborted { .. }), "{outcome:?}");
    assert_eq!(ordinals(&*log, Checkpoint::default()).await.unwrap().len(), acknowledged);
    log.close().await;
    // Room again.
    let log = open(&path).await;
    let (writer, _) = claim(&log).await;
    let mut records = records.claimed(writer.claim_epoch());
    append(writer, &mut records, &[50]).await;
    assert_eq!(ordinals(&*log, Checkpoint::default()).await.unwrap(), (1..=records.ordinal.0).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_appends_of_one_event_are_read_in_few_batches_and_the_log_is_copied_into_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let log = open(&path).await;
    let (mut writer, mut records) = claim(&log).await;
    for _ in 0..12 {
        // More than one checkpoint's worth.
        let mut batch = crate::log::AppendBatch::default();
        records.commit(&mut batch, 10, 100_000);
        writer = match writer.append(batch).await {
            AppendOutcome::Durable { writer, .. } => writer,
            other => panic!("{other:?}"),
        };
    }
    for _ in 0..300 {
        writer = append(writer, &mut records, &[1]).await;
    }
    let mut reader = log.reader(AT, Offset::START).await.unwrap();
    let (mut batch, mut batches, mut seen) = (crate::log::RawBatch::default(), 0, 0);
    while reader.position() < log.end(AT).await.unwrap() {
        reader.next(&mut batch).await.unwrap();
        assert!(batch.bytes_len() <= crate::limits::READ_BATCH_BYTES_MAX);
        batches += 1;
        seen += batch.len();
    }
    assert_eq!(seen, 12 * 10 + 300 + 1);
    assert!(batches < 40, "{batches} batches");
    let copied = async {
        while std::fs::metadata(&path).unwrap().len() < 4 << 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), copied).await.expect("the checkpointer copies");
}

/// Locks that this process holds on the log's file itself: what tells other processes not to remove its write-ahead log.
#[cfg(target_os = "linux")]
fn locks_held(path: &Path) -> usize {
    use std::os::linux::fs::MetadataExt as _;
    let inode = format!(":{}", std::fs::metadata(path).unwrap().st_ino());
    let process = std::process::id().to_string();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    // Number, kind, mode, access, process, device and inode, range.
    let held = locks.lines().filter(|line| {
        let mut fields = line.split_whitespace().skip(4);
        fields.next() == Some(&process) && fields.next().is_some_and(|file| file.ends_with(&inode))
    });
    held.count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn opening_a_log_again_in_one_process_lets_go_of_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let log = open(&path).await;
    let (writer, mut records) = claim(&log).await;
    let writer = append(writer, &mut records, &[1]).await;
    let held = locks_held(&path);
    assert!(held > 0, "an open connection holds a shared lock");
    let looking = SqliteLog::open_read_only(&path, &[CONTEXT]).await.unwrap();
    looking.close().await;
    drop(looking);
    assert_eq!(locks_held(&path), held);
    append(writer, &mut records, &[1]).await;
}
