//! The demo's server: a child process of this very binary, ended by its own process id only.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::limits;
use annals_api::endpoint::Endpoint;
use annals_cli::client::Client;

/// A running server; killed when dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    data: PathBuf,
    /// How to speak to it.
    pub(crate) client: Client,
    /// Where it is.
    pub(crate) endpoint: Endpoint,
}

impl Server {
    /// Starts `annals up` on a data directory and waits until it is ready.
    pub(crate) async fn start(binary: &Path, data: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log_path(data)).context("the server's log file")?;
        let child = Command::new(binary)
            .args(["up", "--data"])
            .arg(data)
            .args(more)
            .env_remove("ANNALS_URL")
            .env_remove("ANNALS_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A Ctrl-C is for the demo, which ends its server itself; and with --keep the server outlives the demo.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let mut starting = Starting(Some(child));
        let endpoint = starting.ready(data).await?;
        let client = Client::new(&endpoint.url, &endpoint.token)?;
        Ok(Self { child: starting.0.take(), data: data.to_owned(), client, endpoint })
    }

    /// Ends it as a power cut would: SIGKILL, no last words.
    pub(crate) fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("the server was killed before it was asked to stop")?;
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        let deadline = Instant::now() + Duration::from_secs(limits::SERVER_STOP_SECS);
        loop {
            if let Some(status) = child.try_wait()? {
                anyhow::ensure!(status.success(), "the server ended with {status}; {}", last_words(&self.data));
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the server did not stop within {} s of SIGTERM", limits::SERVER_STOP_SECS);
            }
            sleep(Duration::from_millis(limits::SERVER_POLL_MS)).await;
        }
    }

    /// Lets it run on when the demo ends.
    pub(crate) fn keep(mut self) -> Endpoint {
        self.child = None;
        self.endpoint.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A server that is not ready yet; killed when dropped.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

impl Starting {
    async fn ready(&mut self, data: &Path) -> anyhow::Result<Endpoint> {
        let deadline = Instant::now() + Duration::from_secs(limits::SERVER_START_SECS);
        loop {
            let child = self.0.as_mut().context("the server was never started")?;
            if let Some(status) = child.try_wait()? {
                bail!("the server ended with {status} before it was ready; {}", last_words(data));
            }
            // An endpoint of the server before this one does not count.
            match Endpoint::read(data) {
                Ok(Some(endpoint)) if endpoint.pid == child.id() => return Ok(endpoint),
                Ok(_) | Err(_) => {}
            }
            if Instant::now() > deadline {
                bail!("the server was not ready within {} s; {}", limits::SERVER_START_SECS, last_words(data));
            }
            sleep(Duration::from_millis(limits::SERVER_POLL_MS)).await;
        }
    }
}

/// SIGKILL, and waits until the process is gone: its files may be removed then. One that has ended already is as good.
fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        drop(child.kill());
        drop(child.wait());
    }
}

/// Where the server's stderr goes.
pub(crate) fn log_path(data: &Path) -> PathBuf {
    data.join("server.log")
}

pub(crate) fn last_words(data: &Path) -> String {
    let text = File::open(log_path(data)).and_then(std::io::read_to_string).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    if lines.is_empty() { "it said nothing".to_owned() } else { format!("its last words: {}", lines.join(" | ")) }
}

/// Bytes of all files under a directory.
pub(crate) fn bytes_under(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_under(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}
