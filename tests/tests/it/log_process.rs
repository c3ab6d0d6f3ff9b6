//! A child process that writes a log (`log_writer`), and what a test does to it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Killed when dropped.
pub(crate) struct LogProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl LogProcess {
    pub(crate) fn start(log: &Path) -> Self {
        Self::start_with(&[log.as_os_str()])
    }

    pub(crate) fn start_on_kafka(addresses: &str, prefix: &str) -> Self {
        Self::start_with(&["kafka".as_ref(), addresses.as_ref(), prefix.as_ref()])
    }

    fn start_with(arguments: &[&OsStr]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_log_writer"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the log writer starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output }
    }

    /// Sends a line without waiting for its answer.
    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the log writer listens");
    }

    /// The answer to the oldest line not answered yet.
    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the log writer answers");
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    /// Stops it where it is, and returns when it has stopped.
    pub(crate) fn stop(&self) {
        kill(self.pid(), Signal::SIGSTOP).expect("an own child");
        let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).expect("an own child");
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        kill(self.pid(), Signal::SIGCONT).expect("an own child");
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("an own child");
        self.child.wait().expect("an own child");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for LogProcess {
    fn drop(&mut self) {
        // Gone already, maybe.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
