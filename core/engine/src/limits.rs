//! Every bound of this crate, with its unit in its name.

/// Largest append, bytes: what a Kafka record batch may carry as well.
pub const APPEND_BYTES_MAX: usize = 3_500_000;
/// Largest batch of raw records that a reader delivers, bytes, unless one append alone is larger.
pub const READ_BATCH_BYTES_MAX: usize = 4 << 20;
/// Most rows that a snapshot of a sink delivers at once.
pub const SNAPSHOT_CHUNK_ROWS_MAX: usize = 1_024;
/// How long a promotion holds the live generation still while it waits for the target's runner, milliseconds.
pub const PROMOTE_WAIT_MS_MAX: u64 = 1_000;
/// How often a process looks whether another one changed the registry of generations, milliseconds.
pub const REGISTRY_POLL_MS: u64 = 250;
