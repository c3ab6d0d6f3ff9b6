use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::Instant;

use super::super::connections::Connections;
use super::*;

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_takes_ends_at_the_limit() {
    let (server, _client) = duplex(64);
    let mut server = StallLimit::new(server, LIMIT, Connections::new().enter(1));
    let started = Instant::now();
    let error = server.write_all(&[0; 65]).await.unwrap_err();
    assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_waited_for_as_long_as_it_reads() {
    let (server, mut client) = duplex(64);
    let mut server = StallLimit::new(server, LIMIT, Connections::new().enter(1));
    let reader = async {
        let mut piece = [0; 64];
        for _ in 0..10 {
            tokio::time::sleep(LIMIT / 2).await;
            client.read_exact(&mut piece).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(server.write_all(&[0; 640]), reader);
    written.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_client_still_sends_is_taken_for_a_moment_behind_the_last_answer() {
    let (server, mut client) = duplex(64);
    let mut server = StallLimit::new(server, LIMIT, Connections::new().enter(1));
    let sending = async {
        for _ in 0..10 {
            client.write_all(&[0; 64]).await.unwrap();
        }
        drop(client);
    };
    let (shut, ()) = tokio::join!(server.shutdown(), sending);
    shut.unwrap();
    let (server, _silent) = duplex(64);
    let started = Instant::now();
    StallLimit::new(server, LIMIT, Connections::new().enter(1)).shutdown().await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_millis(limits::LINGER_MS));
}
