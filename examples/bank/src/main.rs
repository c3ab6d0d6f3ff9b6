//! `bank up`, `bank query`, `bank rebuild`, `bank verify`, …: every verb, for this domain.

fn main() -> std::process::ExitCode {
    annals_cli::main(bank::application())
}
