//! SIGINT and SIGTERM: the first one asks, the second one ends. So does the time: a broker or a database that does not
//! answer keeps nobody from stopping, and a process is made to be ended anywhere.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::say;
use crate::limits;

/// Cancelled by the first SIGINT or SIGTERM, which is answered with `asked`; a second one ends the process at once, with
/// `ended` as its last words. Needs a Tokio runtime.
pub fn on_signal(asked: &'static str, ended: &'static str) -> io::Result<CancellationToken> {
    watch(asked, ended, None)
}

/// The same for a server: [`limits::STOP_MS_MAX`] behind the first signal it ends as well, and that is no failure.
pub fn on_signal_in_time(asked: &'static str, ended: &'static str) -> io::Result<CancellationToken> {
    watch(asked, ended, Some(Duration::from_millis(limits::STOP_MS_MAX)))
}

fn watch(asked: &'static str, ended: &'static str, longest: Option<Duration>) -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if stopping.is_cancelled() {
                say!("{ended}");
                say::flush();
                std::process::exit(Exit::Interrupted as i32);
            }
            stopping.cancel();
            say!("{asked}");
            let Some(longest) = longest else { continue };
            // A thread of its own: whatever hangs may hang where the runtime's tasks do.
            let watched = std::thread::Builder::new().name("stop".to_owned()).spawn(move || {
                std::thread::sleep(longest);
                say!("something does not answer and is not waited for: {ended}");
                say::flush();
                std::process::exit(Exit::Ok as i32);
            });
            if let Err(error) = watched {
                say!("no thread can be started ({error}): stopping takes as long as it takes");
            }
        }
    });
    Ok(stop)
}
