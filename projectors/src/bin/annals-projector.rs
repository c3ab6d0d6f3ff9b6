//! `annals-projector`: keeps the platform's read models current, see [`annals_projectors::projector`].

use std::process::ExitCode;

fn main() -> ExitCode {
    annals_projectors::projector::main(annals_platform::application())
}
