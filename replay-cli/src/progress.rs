//! How far long work has come: a bar with rate and time left on a terminal, one line a second elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use annals_projectors::process::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::limits;
use crate::output::cell::count;

/// Progress of one piece of work, on stderr.
#[derive(Debug)]
pub struct Progress {
    title: String,
    unit: &'static str,
    started: Instant,
    bar: Option<ProgressBar>,
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    done: u64,
    total: Option<u64>,
    printed: Instant,
}

impl Progress {
    /// Starts it; `total` is nothing where nobody knows.
    pub fn start(title: &str, unit: &'static str, total: Option<u64>) -> Self {
        let started = Instant::now();
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(15));
            bar.set_style(style(unit, total.is_some()));
            bar.set_message(title.to_owned());
            bar
        });
        let line = Mutex::new(Line { done: 0, total, printed: started });
        Self { title: title.to_owned(), unit, started, bar, line }
    }

    /// Sets the total once it is known.
    pub fn set_total(&self, total: u64) {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).total = Some(total);
        if let Some(bar) = &self.bar {
            bar.set_style(style(self.unit, true));
            bar.set_length(total);
        }
    }

    /// Says what is being done now.
    pub fn enter(&self, stage: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {stage}", self.title));
        }
    }

    /// Says how much is done.
    pub fn set(&self, done: u64) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.done = done;
        // The log grows while it is read: what is done is never more than all.
        let grown = line.total.filter(|total| *total < done).is_some();
        if grown {
            line.total = Some(done);
        }
        match &self.bar {
            Some(bar) => {
                if grown {
                    bar.set_length(done);
                }
                bar.set_position(done);
            }
            None if line.printed.elapsed() >= Duration::from_millis(limits::PROGRESS_LINE_MS) => {
                line.printed = Instant::now();
                say!("{}", plain(&self.title, self.unit, line.done, line.total, self.started.elapsed()));
            }
            None => {}
        }
    }

    /// Ends it with a line that stays.
    pub fn finish(self) -> Duration {
        let took = self.started.elapsed();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let per_second = rate(line.done, took);
        say!(
            "{}: {} {} in {:.1} s ({} per second)",
            self.title,
            count(line.done),
            self.unit,
            took.as_secs_f64(),
            count(per_second)
        );
        took
    }

    /// Takes it away without a word.
    pub fn clear(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(unit: &'static str, bounded: bool) -> ProgressStyle {
    let template = if bounded {
        "{msg:<22} {wide_bar:.cyan/dim} {percent:>3} %  {done} {unit}  {rate}/s  {left}"
    } else {
        "{msg:<22} {spinner}  {done} {unit}  {rate}/s"
    };
    ProgressStyle::with_template(template)
        // The templates are constants, tested below.
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
        .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = match state.len() {
                Some(total) => write!(out, "{}/{}", count(state.pos()), count(total)),
                None => write!(out, "{}", count(state.pos())),
            };
        })
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}", count(state.per_sec() as u64));
        })
        .with_key("unit", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(unit);
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{} left", seconds(state.eta()));
        })
}

fn plain(title: &str, unit: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let per_second = rate(done, elapsed);
    let mut text = format!("{title}: {}", count(done));
    if let Some(total) = total {
        let percent = (done * 100).checked_div(total).unwrap_or(100);
        let left = total.saturating_sub(done).checked_div(per_second);
        let left = left.map_or_else(|| "unknown".to_owned(), |left| seconds(Duration::from_secs(left)));
        let _ = write!(text, "/{} {unit}, {percent} %, {} per second, {left} left", count(total), count(per_second));
    } else {
        let _ = write!(text, " {unit}, {} per second", count(per_second));
    }
    text
}

/// Whole things per second.
pub fn rate(done: u64, elapsed: Duration) -> u64 {
    (done as f64 / elapsed.as_secs_f64().max(1e-3)) as u64
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ 0..60 => format!("{secs} s"),
        secs @ 60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        secs => format!("{} h {} min", secs / 3_600, secs % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_has_rate_and_time_left() {
        let line = plain("import", "commands", 1_000, Some(4_000), Duration::from_secs(1));
        assert_eq!(line, "import: 1,000/4,000 commands, 25 %, 1,000 per second, 3 s left");
        let line = plain("import", "commands", 0, Some(0), Duration::from_secs(1));
        assert_eq!(line, "import: 0/0 commands, 100 %, 0 per second, unknown left");
        let line = plain("fold", "events", 500, None, Duration::from_secs(2));
        assert_eq!(line, "fold: 500 events, 250 per second");
    }

    #[test]
    fn what_grows_while_it_is_counted_is_never_more_than_whole() {
        let progress = Progress::start("fold", "events", Some(100));
        progress.set(118);
        let line = progress.line.lock().unwrap();
        let told = plain(&progress.title, progress.unit, line.done, line.total, Duration::from_secs(1));
        assert_eq!(told, "fold: 118/118 events, 100 %, 118 per second, 0 s left");
    }

    #[test]
    fn the_bars_templates_are_well_formed() {
        for bounded in [true, false] {
            let bar = ProgressBar::with_draw_target(Some(3), ProgressDrawTarget::hidden());
            bar.set_style(style("events", bounded));
            bar.set_position(2);
            assert_eq!(bar.position(), 2);
        }
        assert!(
            ProgressStyle::with_template(
                "{msg:<22} {wide_bar:.cyan/dim} {percent:>3} %  {done} {unit}  {rate}/s  {left}"
            )
            .is_ok()
        );
    }

    #[test]
    fn time_left_is_said_in_words() {
        assert_eq!(seconds(Duration::from_secs(59)), "59 s");
        assert_eq!(seconds(Duration::from_secs(61)), "1 min 1 s");
        assert_eq!(seconds(Duration::from_secs(3_720)), "1 h 2 min");
    }
}
