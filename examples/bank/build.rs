//! Makes Rust types of the event schemas. A context's number is part of every event's id: it never changes.

fn main() -> std::process::ExitCode {
    annals_codegen::generate("schemas", &[("bank", 1)])
}
