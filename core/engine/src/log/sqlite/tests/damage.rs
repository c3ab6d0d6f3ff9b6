//! Files that are not what they should be: each is refused with a message that says what to do, and left as it is.

use std::path::Path;

use annals_model::ids::Partition;
use annals_model::position::ContextPartition;
use sqlx::{Connection, SqliteConnection};

use super::{AT, CONTEXT, SqliteLog, SqliteOptions, append, claim, open, written};
use crate::log::contract::records::TestRecords;
use crate::log::sqlite::OpenError;
use crate::log::{AppendOutcome, ClaimError, Claimed, EventLog as _, Owner, ReadError};

/// Opens a file with these bytes, and checks that opening did not change it.
async fn opened(path: &Path, bytes: &[u8]) -> OpenError {
    std::fs::write(path, bytes).unwrap();
    let error = SqliteLog::open(path, &[CONTEXT], SqliteOptions::default()).await.unwrap_err();
    assert_eq!(std::fs::read(path).unwrap(), bytes, "the file was changed: {error}");
    let read_only = SqliteLog::open_read_only(path, &[CONTEXT]).await;
    assert_eq!(std::fs::read(path).unwrap(), bytes, "the file was changed by a reader: {read_only:?}");
    error
}

#[tokio::test]
async fn a_file_that_is_no_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let error = opened(&path, &b"name,price\n".repeat(100)).await;
    assert!(matches!(error, OpenError::NotALog { .. }), "{error}");
    assert!(error.to_string().contains("no sqlite file"), "{error}");
    let error = opened(&path, b"short").await;
    assert!(matches!(error, OpenError::NotALog { .. }), "{error}");
    let error = opened(&path, b"").await;
    assert!(matches!(error, OpenError::Damaged { .. }) && error.to_string().contains("it is empty"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let mut other = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    sqlx::raw_sql("CREATE TABLE prices (name TEXT)").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let error = opened(&path, &std::fs::read(&path).unwrap()).await;
    assert!(matches!(error, OpenError::NotALog { .. }), "{error}");
    assert!(error.to_string().contains("another application"), "{error}");
}

#[tokio::test]
async fn a_log_cut_off_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    written(&path, 60).await;
    let whole = std::fs::read(&path).unwrap();
    for length in
        [1, 15, 16, 50, 99, 100, 512, 4_095, 4_096, 8_192, whole.len() / 2, whole.len() - 4_096, whole.len() - 1]
    {
        let error = opened(&path, &whole[..length]).await;
        let refused = matches!(error, OpenError::Damaged { .. } | OpenError::NotALog { .. });
        assert!(refused, "{length} bytes: {error}");
        assert!(error.to_string().contains("nothing was changed"), "{length} bytes: {error}");
    }
}

#[tokio::test]
async fn a_log_that_lost_its_file_but_not_its_write_ahead_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    std::fs::write(directory.path().join("log.sqlite-wal"), b"frames").unwrap();
    let error = SqliteLog::open(&path, &[CONTEXT], SqliteOptions::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("the file itself is missing"), "{error}");
}

#[tokio::test]
async fn there_is_nothing_to_read_where_there_is_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let error = SqliteLog::open_read_only(&path, &[CONTEXT]).await.unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert!(!path.exists(), "a reader creates nothing");
    let nowhere = directory.path().join("missing").join("log.sqlite");
    let error = SqliteLog::open(&nowhere, &[CONTEXT], SqliteOptions::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_format_and_a_lost_id_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    written(&path, 1).await;
    let change = async |sql: &'static str| {
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        SqliteLog::open(&path, &[CONTEXT], SqliteOptions::default()).await
    };
    let error = change("PRAGMA user_version = 2").await.unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("use a newer build"), "{error}");
    let error = change("PRAGMA user_version = 1; DELETE FROM meta WHERE key = 'log.id'").await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn appends_without_what_meta_says_of_them_are_damage() {
    for lost in ["key = 'log.id'", "key LIKE 'log.context.%'"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.sqlite");
        written(&path, 3).await;
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        let delete = sqlx::AssertSqlSafe(format!("DELETE FROM meta WHERE {lost}"));
        let deleted = sqlx::raw_sql(delete).execute(&mut connection).await.unwrap();
        assert_eq!(deleted.rows_affected(), 1, "{lost}");
        connection.close().await.unwrap();
        for opened in [
            SqliteLog::open(&path, &[CONTEXT], SqliteOptions::default()).await,
            SqliteLog::open_read_only(&path, &[CONTEXT]).await,
        ] {
            let error = opened.unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{lost}: {error}");
            assert!(error.to_string().contains("is missing"), "{lost}: {error}");
        }
    }
}

#[tokio::test]
async fn an_end_that_is_damaged_while_it_is_served_stops_its_own_partition_and_no_other() {
    const OTHER: ContextPartition = ContextPartition { context: CONTEXT, partition: Partition(2) };
    for damage in
        ["UPDATE heads SET ordinal = ordinal + 1 WHERE partition = 1", "DELETE FROM heads WHERE partition = 1"]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.sqlite");
        let log = open(&path).await;
        let owner = || Owner { id: "test".into(), address: String::new() };
        let (writer, mut records) = claim(&log).await;
        let writer = append(writer, &mut records, &[1]).await;
        let Claimed { writer: other, .. } = log.claim(OTHER, owner()).await.unwrap();
        let mut others = TestRecords::new(OTHER, log.partitions(CONTEXT)).claimed(other.claim_epoch());
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        sqlx::raw_sql(damage).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        // All three may meet in one transaction.
        let (lost, mut other, claimed) =
            tokio::join!(writer.append(records.batch(&[1])), append(other, &mut others, &[1]), log.claim(AT, owner()));
        assert!(matches!(lost, AppendOutcome::Unknown { .. }), "{damage}: {lost:?}");
        assert!(matches!(claimed, Err(ClaimError::Read(ReadError::Corrupt { at: AT, .. }))), "{damage}: {claimed:?}");
        other = append(other, &mut others, &[1]).await;
        drop((other, log));
    }
}
