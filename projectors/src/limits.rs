//! Every bound of this crate, with its unit in its name.

/// Longest that a process takes to stop once it was asked to, milliseconds, whatever does not answer.
pub const STOP_MS_MAX: u64 = 3_000;
/// First and longest pause between two tries to open a log or a store that is down, milliseconds.
pub const OPEN_PAUSE_MS_MIN: u64 = 100;
/// See [`OPEN_PAUSE_MS_MIN`].
pub const OPEN_PAUSE_MS_MAX: u64 = 2_000;
/// Most of what a process says that waits for a slow reader of stderr, bytes; more is dropped and counted.
pub const STDERR_BYTES_MAX: usize = 256 << 10;
/// Longest wait for that reader before results are printed and before the process ends, milliseconds.
pub const STDERR_FLUSH_MS_MAX: u64 = 500;
/// How often samples that no scrape asked for are counted, milliseconds.
pub const METRICS_UPKEEP_MS: u64 = 5_000;
