//! What crosses crates: several processes, kill -9, model checks.
