//! What the generated code promises, held against the released files and against apache-avro.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test fails, also in what tests share")]

mod engine;
mod evolution;
mod hostile;
mod oracle;
mod released;
mod size;
mod values;
