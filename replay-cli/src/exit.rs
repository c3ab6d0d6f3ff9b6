//! How a command ends: as every process of a deployment does.

pub use annals_projectors::process::exit::{Exit, Failure, report};
