//! `annals-api`: a node of the platform, see [`annals_api::process`].

use std::process::ExitCode;

fn main() -> ExitCode {
    annals_api::process::main(annals_platform::application())
}
