//! Is anybody else at work on this machine? Processor time of all, less that of this process and its descendants.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Units of `/proc` per second; the kernel shows this number to every program.
const TICKS_PER_S: f64 = 100.0;

/// A time in which the machine is looked at.
#[derive(Debug)]
pub(crate) struct Window {
    began: Instant,
    others_ticks: f64,
}

impl Window {
    pub(crate) fn open() -> anyhow::Result<Self> {
        Ok(Self { began: Instant::now(), others_ticks: others_ticks()? })
    }

    /// Share of all processors that others took since it was opened.
    pub(crate) fn others(&self) -> anyhow::Result<f64> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
        let ticks = others_ticks()? - self.others_ticks;
        Ok((ticks / TICKS_PER_S / self.began.elapsed().as_secs_f64() / processors).clamp(0.0, 1.0))
    }
}

/// What others take while we do nothing.
pub(crate) fn look(how_long: Duration) -> anyhow::Result<f64> {
    let window = Window::open()?;
    std::thread::sleep(how_long);
    window.others()
}

/// Processor time of this process and its descendants, in steps of a tick.
pub(crate) fn own_cpu() -> anyhow::Result<Duration> {
    Ok(Duration::from_secs_f64(own_ticks()? as f64 / TICKS_PER_S))
}

/// Processor time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = spent.and_then(|text| text.split_whitespace().next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn others_ticks() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat: only Linux says what a processor does")?;
    Ok((busy_ticks(&text).context("/proc/stat has another form")? - own_ticks()?) as f64)
}

/// Without time spent on interrupts: loopback connections are worked off there, and those are ours. Stolen time counts:
/// somebody else had the processor.
fn busy_ticks(stat: &str) -> Option<i64> {
    let all: Vec<i64> = stat.lines().next()?.split_whitespace().skip(1).map_while(|text| text.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, _irq, _softirq, steal, ..] = all[..] else { return None };
    Some(user + nice + system + steal)
}

/// Of this process, its descendants, and those of them that have ended.
fn own_ticks() -> anyhow::Result<i64> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut spent = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Gone since, maybe.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((parent, ticks)) = parent_and_ticks(&stat) else { continue };
        children.entry(parent).or_default().push(pid);
        spent.insert(pid, ticks);
    }
    let (mut total, mut rest) = (0, vec![std::process::id()]);
    while let Some(pid) = rest.pop() {
        total += spent.get(&pid).copied().unwrap_or_default();
        rest.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(total)
}

fn parent_and_ticks(stat: &str) -> Option<(u32, i64)> {
    // The name before it may hold anything, parentheses and spaces included.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|text| text.parse::<i64>());
    Some((fields.get(1)?.parse().ok()?, ticks.sum::<Result<i64, _>>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_somebody_elses_and_interrupts_are_nobodys() {
        assert_eq!(busy_ticks("cpu  100 20 30 4000 50 600 700 8 9 10\ncpu0 1 1 1"), Some(158));
        assert_eq!(busy_ticks("cpu 1 2"), None);
    }

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 1 0 5 6";
        assert_eq!(parent_and_ticks(stat), Some((7, 110)));
        assert_eq!(parent_and_ticks("42 nothing"), None);
    }

    #[test]
    fn work_of_a_thread_of_this_process_is_not_somebody_elses() {
        let (own, cpu) = (own_ticks().unwrap(), thread_cpu());
        while thread_cpu() - cpu < Duration::from_millis(200) {
            std::hint::black_box(own);
        }
        assert!(own_ticks().unwrap() - own >= 15);
    }

    #[test]
    fn work_of_another_process_is_somebody_elses() {
        // Not a descendant of ours: its parent ends before it, and it goes on until its standard input is closed.
        let window = Window::open().unwrap();
        let busy = "(while kill -0 $1 2>/dev/null; do :; done) & exit 0";
        let until = std::process::Command::new("sleep").arg("0.6").spawn();
        let mut until = until.unwrap();
        let started = std::process::Command::new("sh").args(["-c", busy, "sh", &until.id().to_string()]).status();
        assert!(started.unwrap().success());
        until.wait().unwrap();
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
        assert!(window.others().unwrap() * processors > 0.2);
    }
}
