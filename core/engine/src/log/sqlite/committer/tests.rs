use super::*;

#[tokio::test]
async fn behind_a_failed_commit_nothing_is_appended_until_all_that_is_there_was_copied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let mut writer = settings(&path, Access::ReadWrite)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE t (n); INSERT INTO t VALUES (1)").execute(&mut writer).await.unwrap();
    let mut reader = settings(&path, Access::ReadOnly).connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT * FROM t").execute(&mut reader).await.unwrap();
    sqlx::raw_sql("INSERT INTO t VALUES (2)").execute(&mut writer).await.unwrap();

    let (_requests, requests) = mpsc::channel(1);
    let committer = Committer {
        path: path.clone(),
        max_page_count: None,
        requests,
        holes: Holes::new(None),
        wake: Arc::new(Wake::new(std::iter::empty())),
        written: Arc::default(),
        closed: watch::Sender::new(false),
        outages: Outages::default(),
    };
    let refused = committer.connect(Line::Broken).await;
    assert!(matches!(refused, Err((Line::Broken, Failure::Transient(_)))), "the reader still needs the old pages");
    sqlx::raw_sql("ROLLBACK").execute(&mut reader).await.unwrap();
    assert!(committer.connect(Line::Broken).await.is_ok());
    assert_eq!(std::fs::metadata(directory.path().join("log.sqlite-wal")).unwrap().len(), 0);
}
