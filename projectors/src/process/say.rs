//! What a process says on stderr, without ever failing or waiting for whoever should read it.
//!
//! A closed terminal, a pipe that nobody empties, a full disk: none of them may end a process, or hold the task that
//! stops it. So nothing here writes to stderr but one thread of its own; all others leave their words in a bounded queue.
//! What does not fit is dropped, and counted where it would have stood.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::tool;
use crate::limits;

/// Says a line on stderr, in the words of `format!`. Takes the place of `eprintln!`, which panics where stderr cannot be
/// written and waits where nobody reads it.
#[macro_export]
macro_rules! say {
    () => { $crate::process::say::line("") };
    ($($words:tt)*) => { $crate::process::say::line(&::std::format!($($words)*)) };
}

/// Says a line.
pub fn line(words: &str) {
    let words = &*tool::in_own_name(words);
    let mut text = String::with_capacity(words.len() + 1);
    text.push_str(words);
    text.push('\n');
    STDERR.put(text.as_bytes());
}

/// Says something that does not end its line: a question.
pub fn text(words: &str) {
    STDERR.put(words.as_bytes());
}

/// Waits until all that was said is written, for a bounded time: before results go to stdout, so that a reader of both
/// finds them in order, and before the process ends. Gives up for good on a reader that let one such time pass.
pub fn flush() {
    STDERR.flush(Duration::from_millis(limits::STDERR_FLUSH_MS_MAX));
}

/// For libraries that write their own lines: each call of `write` is said whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        STDERR.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static STDERR: Queue = Queue::new();

/// Words on their way to a writer that may be slow, stuck or gone.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    said: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Dropped since the last line that was written.
    lost: u64,
    /// The thread has taken words and not written them yet.
    writing: bool,
    started: bool,
    /// A flush has waited in vain, and nothing was written since.
    stuck: bool,
}

impl Queue {
    const fn new() -> Self {
        let state = State { said: VecDeque::new(), bytes: 0, lost: 0, writing: false, started: false, stuck: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&'static self, bytes: &[u8]) {
        let mut state = self.lock();
        if !state.started {
            state.started = true;
            let writer = thread::Builder::new().name("stderr".to_owned());
            // Without a thread the words stay in the queue, which is bounded.
            drop(writer.spawn(|| self.write_to(&mut io::stderr())));
        }
        state.put(bytes);
        self.changed.notify_all();
    }

    /// Writes what is said, for ever.
    fn write_to(&self, to: &mut impl Write) {
        let mut state = self.lock();
        loop {
            state =
                self.changed.wait_while(state, |state| state.said.is_empty()).unwrap_or_else(PoisonError::into_inner);
            let words = state.take();
            drop(state);
            for word in words {
                // Nobody is there to be told.
                let _ = to.write_all(&word);
            }
            state = self.lock();
            state.writing = false;
            state.stuck = false;
            self.changed.notify_all();
        }
    }

    fn flush(&self, bound: Duration) {
        let state = self.lock();
        if state.stuck {
            return;
        }
        let waited = self.changed.wait_timeout_while(state, bound, |state| state.writing || !state.said.is_empty());
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        state.stuck = waited.timed_out();
    }
}

impl State {
    fn put(&mut self, bytes: &[u8]) {
        if self.bytes + bytes.len() > limits::STDERR_BYTES_MAX {
            self.lost += 1;
            return;
        }
        self.bytes += bytes.len();
        self.said.push_back(bytes.to_vec());
    }

    fn take(&mut self) -> VecDeque<Vec<u8>> {
        let mut words = std::mem::take(&mut self.said);
        if self.lost > 0 {
            words.push_back(format!("({} lines were not written: nobody read them)\n", self.lost).into_bytes());
            self.lost = 0;
        }
        self.bytes = 0;
        self.writing = true;
        words
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Gives each write away, and fails those that it is told to fail.
    struct Pipe {
        written: mpsc::SyncSender<String>,
        fails: bool,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.fails = !self.fails;
            if self.fails {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> &'static Queue {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new()));
        // The tests start their own thread.
        queue.lock().started = true;
        queue
    }

    #[test]
    fn what_cannot_be_written_is_passed_over() {
        let (written, read) = mpsc::sync_channel(8);
        let queue = queue();
        thread::spawn(|| queue.write_to(&mut Pipe { written, fails: false }));
        for word in ["a", "b", "c", "d"] {
            queue.put(word.as_bytes());
        }
        assert_eq!((read.recv().unwrap(), read.recv().unwrap()), ("b".to_owned(), "d".to_owned()));
        queue.flush(Duration::from_secs(60));
        assert!(!queue.lock().stuck);
    }

    #[test]
    fn a_reader_that_reads_nothing_costs_bounded_memory_and_one_wait() {
        let queue = queue();
        let line = vec![b'x'; limits::STDERR_BYTES_MAX / 4];
        for _ in 0..7 {
            queue.put(&line);
        }
        let held = queue.lock().said.len();
        assert_eq!((held, queue.lock().lost), (4, 3));
        queue.flush(Duration::from_millis(1));
        assert!(queue.lock().stuck, "nobody writes");
        // Would not come back before the test's end.
        queue.flush(Duration::MAX);
        let (written, read) = mpsc::sync_channel(8);
        thread::spawn(|| queue.write_to(&mut Pipe { written, fails: true }));
        let last = read.iter().take(3).last().unwrap();
        assert_eq!(last, "(3 lines were not written: nobody read them)\n");
    }
}
