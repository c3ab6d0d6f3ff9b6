//! Answers that the client has not taken yet. Many clients send all their lines before they read anything: were no more
//! lines read than answers are taken, both sides would wait for each other.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits;

/// Bytes that lie here for one batch, counted with those of all others.
#[derive(Debug)]
struct Held {
    bytes: AtomicUsize,
    of_all: Arc<AtomicUsize>,
    taken: Notify,
}

impl Held {
    fn more(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.of_all.fetch_add(bytes, Ordering::AcqRel);
    }

    fn less(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.of_all.fetch_sub(bytes, Ordering::AcqRel);
        self.taken.notify_one();
    }

    /// True if no more is to be put here. One batch alone may have half of it all.
    fn is_full(&self) -> bool {
        let bytes = self.bytes.load(Ordering::Acquire);
        let of_all = self.of_all.load(Ordering::Acquire);
        bytes > 0 && bytes + of_all > limits::BATCHES_UNREAD_BYTES_MAX
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes.load(Ordering::Acquire), Ordering::AcqRel);
    }
}

/// Lets answers be made while the client takes none, up to a bound. If it takes none behind that, `ends` is cancelled: no
/// more lines are read for it.
pub(super) fn ahead(
    answers: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
    of_all: Arc<AtomicUsize>,
    ends: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let held = Arc::new(Held { bytes: AtomicUsize::new(0), of_all, taken: Notify::new() });
    // Bounded by what is held, in bytes.
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut making = JoinSet::new();
    making.spawn(make(answers, sender, Arc::clone(&held), ends));
    // Dropped with the answer's body, and what makes the answers with it.
    stream::unfold((receiver, held, making), |(mut receiver, held, making)| async move {
        let text: Bytes = receiver.recv().await?;
        held.less(text.len());
        Some((Ok(text), (receiver, held, making)))
    })
}

async fn make(
    answers: impl Stream<Item = Result<Bytes, Infallible>>,
    sender: mpsc::UnboundedSender<Bytes>,
    held: Arc<Held>,
    ends: CancellationToken,
) {
    let mut answers = std::pin::pin!(answers);
    while let Some(Ok(text)) = answers.next().await {
        held.more(text.len());
        if sender.send(text).is_err() {
            return;
        }
        let patience = Duration::from_millis(limits::BATCH_UNREAD_MS);
        while held.is_full() && !ends.is_cancelled() {
            if tokio::time::timeout(patience, held.taken.notified()).await.is_err() {
                ends.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(
        of_all: &Arc<AtomicUsize>,
        ends: &CancellationToken,
    ) -> (Arc<AtomicUsize>, impl Stream<Item = Bytes> + Send) {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let (until, piece) = (ends.clone(), limits::BATCHES_UNREAD_BYTES_MAX / 8);
        let answers = stream::unfold(counted, move |counted| {
            let ended = until.is_cancelled();
            async move {
                counted.fetch_add(1, Ordering::AcqRel);
                (!ended).then(|| (Ok(Bytes::from(vec![b'x'; piece])), counted))
            }
        });
        let taken =
            ahead(answers, Arc::clone(of_all), ends.clone()).map(|text| text.unwrap_or_else(|never| match never {}));
        (made, taken)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_gets_no_more_than_the_bound_made_and_then_an_end() {
        let (of_all, ends) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (made, answers) = pieces(&of_all, &ends);
        ends.cancelled().await;
        assert!((4..=6).contains(&made.load(Ordering::Acquire)), "{made:?}");
        // What was made is there for it all the same.
        let answers: Vec<Bytes> = answers.collect().await;
        assert!((4..=6).contains(&answers.len()), "{}", answers.len());
        assert_eq!(of_all.load(Ordering::Acquire), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_all() {
        let (of_all, ends) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (_, answers) = pieces(&of_all, &ends);
        let mut answers = std::pin::pin!(answers);
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(limits::BATCH_UNREAD_MS - 1)).await;
            assert!(answers.next().await.is_some());
        }
        assert!(!ends.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_given_up_leaves_nothing_behind() {
        let (of_all, ends) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (made, answers) = pieces(&of_all, &ends);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(made.load(Ordering::Acquire) > 0 && of_all.load(Ordering::Acquire) > 0);
        drop(answers);
        while of_all.load(Ordering::Acquire) > 0 {
            tokio::task::yield_now().await;
        }
    }
}
