//! One process of the cluster, and what a test does to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::limits;

/// What a process is started as. It ends when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Written by it when it is ready.
    ready: PathBuf,
    stderr: PathBuf,
    child: Option<Child>,
    /// It was told to end.
    leaving: bool,
}

impl Process {
    /// Not started yet. `directory` is its own; `ready` is the file in it that it writes when it is ready.
    pub fn new(name: &str, program: &Path, arguments: Vec<String>, directory: &Path, ready: &str) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments,
            environment: Vec::new(),
            ready: directory.join(ready),
            stderr: directory.join("stderr"),
            child: None,
            leaving: false,
        }
    }

    /// Variables of its environment, from the next start on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True while it was started and not ended, paused or not.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// True while this is its process id.
    pub fn pid_is(&self, pid: u32) -> bool {
        self.child.as_ref().is_some_and(|child| child.id() == pid)
    }

    /// Starts it, without waiting until it is ready.
    pub fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "{} runs already", self.name);
        // Of its last life: whoever waits must not take it for this one's.
        let _ = fs::remove_file(&self.ready);
        let stderr = File::options().create(true).append(true).open(&self.stderr)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr);
        let child = command.spawn().with_context(|| format!("{} does not start", self.program.display()))?;
        (self.child, self.leaving) = (Some(child), false);
        Ok(())
    }

    /// True between [`Self::terminate`] and the next start.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// What it wrote once it was ready; nothing until then.
    pub fn look(&self) -> Option<Value> {
        let pid = self.child.as_ref()?.id();
        let written = serde_json::from_slice::<Value>(&fs::read(&self.ready).ok()?).ok()?;
        (written["pid"] == pid).then_some(written)
    }

    /// Waits until it is ready; what it wrote.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<Value> {
        let deadline = Instant::now() + Duration::from_millis(limits::READY_MS_MAX);
        loop {
            if let Some(written) = self.look() {
                return Ok(written);
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended with {status}:\n{}", self.name, self.last_lines());
            }
            ensure!(Instant::now() < deadline, "{} is not ready in time:\n{}", self.name, self.last_lines());
            std::thread::sleep(Duration::from_millis(limits::POLL_MS));
        }
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().with_context(|| format!("{} is not started", self.name))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGSTOP; returns when it stands still.
    pub fn pause(&self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        kill(pid, Signal::SIGSTOP)?;
        let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
        ensure!(matches!(status, WaitStatus::Stopped(..)), "{}: {status:?}\n{}", self.name, self.last_lines());
        Ok(())
    }

    /// SIGCONT.
    pub fn resume(&self) -> anyhow::Result<()> {
        Ok(kill(self.pid()?, Signal::SIGCONT)?)
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.leaving = true;
        Ok(kill(self.pid()?, Signal::SIGTERM)?)
    }

    /// How it ended, if it has; it can then be started again.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Waits for its end after [`Self::terminate`].
    pub fn wait_until_ended(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + Duration::from_millis(limits::STOP_MS_MAX);
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "{} does not end:\n{}", self.name, self.last_lines());
            std::thread::sleep(Duration::from_millis(limits::POLL_MS));
        }
    }

    /// The end of what it wrote to its standard error.
    pub fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.stderr).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(limits::STDERR_LINES_SHOWN).collect();
        lines.into_iter().rev().map(|line| format!("  {}: {line}\n", self.name)).collect()
    }

    /// Lines of its standard error that say that a person must look.
    pub fn errors(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.stderr).unwrap_or_default();
        text.lines().filter(|line| line.contains("ERROR")).map(|line| format!("{}: {line}", self.name)).collect()
    }

    /// Its process id.
    pub(super) fn pid(&self) -> anyhow::Result<Pid> {
        let child = self.child.as_ref().with_context(|| format!("{} is not started", self.name))?;
        Ok(Pid::from_raw(child.id().cast_signed()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Gone already, maybe. SIGKILL ends a paused one as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
