//! Signals for a server and its sessions. Each session is a process in a group of its own, so they are looked for by
//! their parent.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// Stops all of them. The server first: it starts no session after that.
pub(super) fn pause(server: u32) -> anyhow::Result<()> {
    signal(server, Signal::SIGSTOP)?;
    wait_until(|| is_stopped(server))?;
    let sessions = children(server);
    for session in &sessions {
        signal(*session, Signal::SIGSTOP)?;
    }
    wait_until(|| sessions.iter().all(|session| is_stopped(*session)))
}

/// Lets all of them go on.
pub(super) fn resume(server: u32) -> anyhow::Result<()> {
    for session in children(server) {
        signal(session, Signal::SIGCONT)?;
    }
    signal(server, Signal::SIGCONT)
}

/// Kills all of them, and returns when none has the server's memory any more: until then it could not start again.
pub(super) fn kill_all(server: u32) -> anyhow::Result<()> {
    signal(server, Signal::SIGSTOP)?;
    wait_until(|| is_stopped(server))?;
    let sessions = children(server);
    signal(server, Signal::SIGKILL)?;
    for session in &sessions {
        signal(*session, Signal::SIGKILL)?;
    }
    wait_until(|| sessions.iter().all(|session| is_gone(*session)))
}

fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    match kill(Pid::from_raw(pid.cast_signed()), signal) {
        Err(nix::errno::Errno::ESRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A process's state and its parent, from behind its name, which may hold anything.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

pub(super) fn is_stopped(pid: u32) -> bool {
    is_gone(pid) || stat(pid).is_some_and(|(state, _)| state == 'T')
}

fn is_gone(pid: u32) -> bool {
    stat(pid).is_none_or(|(state, _)| matches!(state, 'Z' | 'X'))
}

pub(super) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent)).collect()
}

fn wait_until(condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        ensure!(Instant::now() < deadline, "the server's processes did not follow a signal within {PATIENCE:?}");
        std::thread::sleep(POLL);
    }
    Ok(())
}
