//! SIGINT and SIGTERM: the first one asks, the second one ends.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::say;

/// Cancelled by the first SIGINT or SIGTERM, which is answered with `asked`; a second one ends the process at once, with
/// `ended` as its last words. Needs a Tokio runtime.
pub fn on_signal(asked: &'static str, ended: &'static str) -> io::Result<CancellationToken> {
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
        }
    });
    Ok(stop)
}
