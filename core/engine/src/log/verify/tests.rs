use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_model::envelope::Record;
use annals_model::ids::{ContextId, Partition};
use annals_model::position::{ContextPartition, RecordOffset};
use sqlx::{Connection, Row, SqliteConnection};

use super::{VerifyReport, verify};
use crate::log::contract::records::{SCHEMA, TestRecords};
use crate::log::holes::Seeded;
use crate::log::memory::MemoryLog;
use crate::log::sqlite::{SqliteLog, SqliteOptions};
use crate::log::stats::stats;
use crate::log::{AppendBatch, AppendOutcome, EventLog, Owner};

const CONTEXT: ContextId = ContextId { number: 9, name: "things" };

fn at(partition: u16) -> ContextPartition {
    ContextPartition { context: CONTEXT, partition: Partition(partition) }
}

async fn verified(log: &dyn EventLog) -> VerifyReport {
    verify(log, &[CONTEXT], &|schema| schema == SCHEMA, &mut |_| {}).await.unwrap()
}

/// Three appends, by two owners, in each of two partitions.
async fn write(log: &dyn EventLog) {
    for partition in [0, 2] {
        let mut records = TestRecords::new(at(partition), log.partitions(CONTEXT));
        for commits in [&[[2, 1], [1, 3]][..], &[[1, 1]]] {
            let owner = Owner { id: "test".into(), address: "here".into() };
            let mut writer = log.claim(at(partition), owner).await.unwrap().writer;
            records = records.claimed(writer.claim_epoch());
            for commits in commits {
                writer = match writer.append(records.batch(commits)).await {
                    AppendOutcome::Durable { writer, .. } => writer,
                    other => panic!("{other:?}"),
                };
            }
        }
    }
}

struct Written {
    directory: tempfile::TempDir,
    path: PathBuf,
    report: VerifyReport,
}

/// A closed SQLite log, and what a verification says of it.
async fn written() -> Written {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let log = SqliteLog::open(&path, &[CONTEXT], SqliteOptions::default()).await.unwrap();
    write(&*log).await;
    let report = verified(&*log).await;
    log.close().await;
    Written { directory, path, report }
}

impl Written {
    fn copy(&self, bytes: &[u8]) -> PathBuf {
        let copy = self.directory.path().join("copy.sqlite");
        std::fs::write(&copy, bytes).unwrap();
        copy
    }

    /// A copy that SQL has changed.
    async fn changed(&self, sql: &'static str) -> PathBuf {
        let copy = self.copy(&std::fs::read(&self.path).unwrap());
        let mut connection = connect(&copy).await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        copy
    }
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

async fn read_only(path: &Path) -> Arc<SqliteLog> {
    SqliteLog::open_read_only(path, &[CONTEXT]).await.unwrap()
}

#[tokio::test]
async fn a_sound_log_is_sound_and_counted() {
    let written = written().await;
    let report = &written.report;
    assert!(report.is_sound(), "{:?}", report.findings);
    let counts: Vec<_> = report.partitions.iter().map(|of| (of.events, of.commits, of.claims, of.aggregates)).collect();
    assert_eq!(counts, [(9, 6, 2, 3), (0, 0, 0, 0), (9, 6, 2, 3), (0, 0, 0, 0)]);
    let log = read_only(&written.path).await;
    let mut last = None;
    let again = verify(&*log, &[CONTEXT], &|_| true, &mut |progress| last = Some(progress)).await.unwrap();
    assert_eq!(again, *report, "the digests of one history are equal");
    let last = last.unwrap();
    assert_eq!((last.partitions_done, last.partitions, last.records), (3, 4, 22));
    let stats = stats(&*log, &[CONTEXT]).await.unwrap();
    assert_eq!((stats[2].events, stats[2].commits, stats[2].claims), (9, 6, 2));
    assert_eq!(stats[2].types["thing.happened"][&1], 9);
    assert_eq!(stats[2].bytes, report.partitions[2].bytes);
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_an_append_is_found_and_named() {
    let written = written().await;
    let sound = std::fs::read(&written.path).unwrap();
    let mut connection = connect(&written.path).await;
    // The second append of partition 2: its claim and three records come before it.
    let select =
        "SELECT records, first_offset, next_offset FROM appends WHERE partition = 2 ORDER BY id LIMIT 1 OFFSET 2";
    let row = sqlx::query(select).fetch_one(&mut connection).await.unwrap();
    let block: Vec<u8> = row.get(0);
    let span = row.get::<i64, _>(1).cast_unsigned()..row.get::<i64, _>(2).cast_unsigned();
    connection.close().await.unwrap();
    let start = sound.windows(block.len()).position(|window| window == block).expect("a small block lies in one page");
    // The count and the table of records byte by byte, then through the records.
    let table = 4 + 4 * 12;
    for index in (0..table).chain((table..block.len()).step_by(23)).chain([block.len() - 1]) {
        let mut bytes = sound.clone();
        bytes[start + index] ^= 1 << (index % 8);
        let report = verified(&*read_only(&written.copy(&bytes)).await).await;
        let [finding] = &report.findings[..] else { panic!("byte {index}: {:?}", report.findings) };
        assert_eq!(finding.at, at(2), "byte {index}");
        // A flipped offset names itself.
        assert!(span.contains(&finding.offset.0) || (4..table).contains(&index), "byte {index}: {finding}");
        assert_eq!(report.partitions[0], written.report.partitions[0], "other partitions are verified all the same");
    }
}

#[tokio::test]
async fn no_flipped_bit_anywhere_in_the_file_goes_unseen_or_panics() {
    let written = written().await;
    let sound = std::fs::read(&written.path).unwrap();
    let mut seeded = Seeded::new(3);
    for _ in 0..300 {
        let mut bytes = sound.clone();
        let index = seeded.below(sound.len() as u64) as usize;
        bytes[index] ^= 1 << seeded.below(8);
        // Refused at once, or found, or it was in unused space and changed nothing.
        let Ok(log) = SqliteLog::open_read_only(&written.copy(&bytes), &[CONTEXT]).await else { continue };
        match verify(&*log, &[CONTEXT], &|_| true, &mut |_| {}).await {
            Ok(report) if report.is_sound() => assert_eq!(report, written.report, "byte {index}"),
            Ok(_) | Err(_) => {}
        }
    }
}

#[tokio::test]
async fn lost_moved_and_added_rows_are_found() {
    let written = written().await;
    for sql in [
        "DELETE FROM appends WHERE id = (SELECT max(id) FROM appends WHERE partition = 2)",
        "DELETE FROM appends WHERE id = (SELECT min(id) FROM appends WHERE partition = 2)",
        "DELETE FROM appends WHERE id = (SELECT min(id) + 1 FROM appends WHERE partition = 2)",
        "DELETE FROM appends WHERE partition = 2",
        "UPDATE appends SET records = (SELECT records FROM appends WHERE partition = 0 AND first_offset = 1)
         WHERE partition = 2 AND first_offset = 1",
        "INSERT INTO appends (context, partition, first_offset, next_offset, records)
         SELECT context, partition, next_offset, next_offset + 1, records FROM appends
         WHERE partition = 2 ORDER BY id DESC LIMIT 1",
        "UPDATE heads SET next_offset = next_offset - 1 WHERE partition = 2",
        "UPDATE heads SET ordinal = ordinal + 1 WHERE partition = 2",
        "UPDATE appends SET first_offset = first_offset + 1 WHERE partition = 2",
        "DELETE FROM heads WHERE partition = 2",
    ] {
        let copy = written.changed(sql).await;
        if let Ok(log) = SqliteLog::open_read_only(&copy, &[CONTEXT]).await {
            let report = verified(&*log).await;
            assert!(report.findings.iter().any(|finding| finding.at == at(2)), "{sql}: {:?}", report.findings);
        }
        let serving = SqliteLog::open(&copy, &[CONTEXT], SqliteOptions::default()).await;
        let at_the_end = sql.contains("heads") || sql.contains("max(id)") || sql.contains("DESC");
        assert!(!at_the_end || serving.is_err(), "{sql}: served all the same");
    }
}

/// Records that an honest owner would not write, and what is said about them.
async fn found(change: impl FnOnce(&mut TestRecords) -> AppendBatch) -> String {
    let log = MemoryLog::new(&[CONTEXT]);
    let owner = Owner { id: "test".into(), address: String::new() };
    let writer = log.claim(at(1), owner).await.unwrap().writer;
    let mut records = TestRecords::new(at(1), log.partitions(CONTEXT)).claimed(writer.claim_epoch());
    for bytes in change(&mut records).iter() {
        log.push_unchecked(at(1), bytes);
    }
    let report = verified(&*log).await;
    report.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The batch, with the envelope of its record at `index` changed.
fn changed(batch: &AppendBatch, index: usize, change: fn(&mut annals_model::envelope::Envelope<'_>)) -> AppendBatch {
    let mut changed = AppendBatch::default();
    for (number, bytes) in batch.iter().enumerate() {
        let mut record = Record::decode(RecordOffset(0), bytes).unwrap();
        if number == index {
            change(&mut record.envelope);
        }
        changed.push(|out| {
            annals_model::envelope::put_frame(out, record.schema);
            record.envelope.encode(out);
            out.extend_from_slice(record.payload);
        });
    }
    changed
}

#[tokio::test]
async fn what_no_single_reader_sees_is_found() {
    let said = found(|records| changed(&records.batch(&[2, 1]), 1, |envelope| envelope.sequence.0 = 3)).await;
    assert!(said.contains("sequence 3 of thing"), "{said}");
    let said = found(|records| changed(&records.batch(&[1]), 0, |envelope| envelope.request = None)).await;
    assert!(said.contains("without its request"), "{said}");
    let said = found(|records| {
        let mut again = records.clone();
        let first = records.batch(&[1, 1, 1]);
        again.ordinal = records.ordinal;
        let mut batch = first;
        for bytes in changed(&again.batch(&[1]), 0, |envelope| {
            envelope.sequence.0 = 2;
            envelope.emitted_at.0 += 10;
        })
        .iter()
        {
            batch.push(|out| out.extend_from_slice(bytes));
        }
        batch
    })
    .await;
    assert!(said.contains("was accepted before: request request-0"), "{said}");
    let said = found(|records| {
        let mut elsewhere = TestRecords::new(at(3), 4).claimed(records.claim_epoch);
        elsewhere.batch(&[1])
    })
    .await;
    assert!(said.contains("belongs to another partition"), "{said}");
    let said = found(|records| {
        let mut batch = records.batch(&[1, 2]);
        batch.truncate(2);
        batch
    })
    .await;
    assert!(said.contains("the end of the log inside a command's events"), "{said}");
    let log = MemoryLog::new(&[CONTEXT]);
    write(&*log).await;
    let report = verify(&*log, &[CONTEXT], &|_| false, &mut |_| {}).await.unwrap();
    assert!(report.findings.iter().all(|finding| finding.cause == "schema 7 is unknown to this build"));
    assert_eq!(report.findings.len(), 18, "nine records in each of two partitions");
}
