//! A real `annals up`, and the real command line against it.

use annals_platform::application;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use annals_model::read_model::newest;
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, on a data directory, without what the environment may say.
pub(crate) fn annals(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.arg("--data").arg(data).args(arguments).stdin(Stdio::null());
    for name in ["ANNALS_DATA", "ANNALS_URL", "ANNALS_TOKEN", "RUST_LOG", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> Ran {
    let output = annals(data, arguments).output().unwrap();
    Ran { arguments: arguments.join(" "), output }
}

/// How a command ended.
pub(crate) struct Ran {
    arguments: String,
    output: Output,
}

impl Ran {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }
    /// Checks the exit code, and shows what was said if it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        assert_eq!(self.output.status.code(), Some(code), "`annals {}`\n{stdout}\n{stderr}", self.arguments);
        self
    }
    /// Stdout as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let stdout = self.stdout();
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("`annals {}`: {error}: {stdout}", self.arguments))
    }
}

/// A server process on a directory of its own; killed when dropped.
pub(crate) struct Server {
    child: Child,
    directory: TempDir,
}

impl Server {
    /// Starts one on an empty directory.
    pub(crate) fn start() -> Self {
        Self::on(tempfile::tempdir().unwrap(), &[])
    }

    /// Starts one on a directory.
    pub(crate) fn on(directory: TempDir, more: &[&str]) -> Self {
        Self::with_stderr(directory, more, Stdio::null())
    }

    /// Starts one whose words go there.
    pub(crate) fn with_stderr(directory: TempDir, more: &[&str], stderr: Stdio) -> Self {
        let mut arguments = vec!["up"];
        arguments.extend(more);
        let child = annals(directory.path(), &arguments).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let mut server = Self { child, directory };
        let (id, endpoint) = (server.child.id(), server.data().join("endpoint.json"));
        wait_until("the server is ready", || {
            assert_eq!(server.child.try_wait().unwrap(), None, "the server ended before it was ready");
            let endpoint = std::fs::read(&endpoint).ok();
            let endpoint: Option<Value> = endpoint.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            endpoint.is_some_and(|endpoint| endpoint["pid"] == id)
        });
        server
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        let endpoint: Value =
            serde_json::from_slice(&std::fs::read(self.data().join("endpoint.json")).unwrap()).unwrap();
        endpoint["url"].as_str().unwrap().to_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(self.directory.path(), arguments)
    }

    /// SIGKILL; gives the directory for the next server.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.into_directory()
    }

    /// SIGTERM; gives the exit code and the directory.
    pub(crate) fn stop(mut self) -> (Option<i32>, TempDir) {
        signal(self.child.id(), nix::sys::signal::Signal::SIGTERM);
        let code = self.child.wait().unwrap().code();
        (code, self.into_directory())
    }

    fn into_directory(mut self) -> TempDir {
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A child that has ended already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal to a process that this test started.
pub(crate) fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

/// Waits for a condition, with a bound.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?}: not yet: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A copy of a data directory that no server runs on.
pub(crate) fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_into(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The newest version of a read model: what a new directory begins with.
pub(crate) fn newest_version(read_model: &str) -> u32 {
    let definitions = application().read_models;
    newest(&definitions).find(|one| one.model.name() == read_model).unwrap().model.version()
}

/// All read models, by name.
pub(crate) fn read_models() -> Vec<&'static str> {
    let mut names: Vec<_> = newest(&application().read_models).map(|one| one.model.name()).collect();
    names.sort_unstable();
    names
}

/// The newest generation of a read model, of a status.
pub(crate) fn newest_of<'a>(status: &'a Value, read_model: &str) -> &'a Value {
    let generations = status["generations"].as_array().unwrap();
    generations.iter().rfind(|generation| generation["read_model"] == read_model).unwrap()
}
