use std::convert::Infallible;

use futures_util::stream;
use proptest::prelude::*;

use super::*;

async fn lines_of(chunks: Vec<Vec<u8>>) -> Vec<Result<Vec<u8>, LineError>> {
    let body = stream::iter(chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk))));
    let mut lines = Lines::new(body);
    let mut all = Vec::new();
    while let Some(line) = lines.next().await.transpose() {
        all.push(line);
    }
    all
}

#[tokio::test]
async fn a_line_that_is_too_long_is_skipped_and_the_next_is_read() {
    for chunk_bytes in [1_000, BATCH_LINE_BYTES_MAX * 3] {
        let mut body = vec![b'x'; BATCH_LINE_BYTES_MAX + 1];
        body.extend_from_slice(b"\nnext\n");
        let lines = lines_of(body.chunks(chunk_bytes).map(<[u8]>::to_vec).collect()).await;
        assert_eq!(lines, [Err(LineError::TooLong), Ok(b"next".to_vec())]);
    }
}

#[tokio::test]
async fn the_longest_line_is_read_and_the_last_needs_no_end() {
    let longest = vec![b'x'; BATCH_LINE_BYTES_MAX];
    assert_eq!(lines_of(vec![longest.clone()]).await, [Ok(longest)]);
}

#[tokio::test]
async fn a_body_that_breaks_off_gives_no_half_line() {
    let body = stream::iter([Ok(Bytes::from_static(b"one\ntw")), Err("reset")]);
    let mut lines = Lines::new(body);
    assert_eq!(lines.next().await, Ok(Some(b"one".to_vec())));
    assert_eq!(lines.next().await, Err(LineError::Broken("reset".to_owned())));
    assert_eq!(lines.next().await, Ok(None));
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_how_the_bytes_arrive(
        lines in prop::collection::vec("[a-z]{0,12}", 0..20),
        cuts in prop::collection::vec(1usize..9, 1..40),
    ) {
        let body: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let mut chunks = Vec::new();
        let mut rest = body.as_slice();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() { break }
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            chunks.push(head.to_vec());
            rest = tail;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(lines_of(chunks));
        let wanted: Vec<_> = lines.into_iter().map(|line| Ok(line.into_bytes())).collect();
        prop_assert_eq!(read, wanted);
    }
}
