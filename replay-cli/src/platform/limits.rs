//! Every bound of the platform's own verbs, with its unit in its name.

/// Most applications, or dependencies, of a workspace that an import compares with a lock file; a page more may be read.
pub(crate) const PRESENT_ROWS_MAX: usize = 1_000_000;
/// Largest `Cargo.lock` that is read, bytes.
pub(crate) const LOCKFILE_BYTES_MAX: u64 = 64 << 20;
/// Most things to be taken away that a plan names one by one.
pub(crate) const TAKEN_AWAY_SHOWN_MAX: usize = 10;
/// Longest start of the demo's server, seconds.
pub(crate) const SERVER_START_SECS: u64 = 30;
/// Longest stop of the demo's server, seconds: above the time that it gives open requests.
pub(crate) const SERVER_STOP_SECS: u64 = 20;
/// Pause between two looks whether the demo's server is ready, milliseconds.
pub(crate) const SERVER_POLL_MS: u64 = 10;
/// Longest wait for queries to be served from another generation after a promotion, seconds.
pub(crate) const SWITCH_SECS: u64 = 10;
/// Pause between two commands of the demo's background writer, milliseconds.
pub(crate) const WRITER_PAUSE_MS: u64 = 4;
/// Operations that the demo looks up at a time.
pub(crate) const LOOKUPS_AT_A_TIME: usize = 16;
