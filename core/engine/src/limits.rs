//! Every bound of this crate, with its unit in its name.

/// Largest append, bytes: what a Kafka record batch may carry as well.
pub const APPEND_BYTES_MAX: usize = 3_500_000;
/// Largest batch of raw records that a reader delivers, bytes, unless one append alone is larger.
pub const READ_BATCH_BYTES_MAX: usize = 4 << 20;
