//! The programs under test: those of this workspace, in the profile that this program was built in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, ensure};

/// Where the programs lie.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `annals-api`.
    pub node: PathBuf,
    /// `annals-projector`.
    pub projector: PathBuf,
}

/// Builds them, which takes a second where nothing has changed: a stale program would be tested in place of the code.
///
/// This package is built with them, so that they have its features: mistakes on purpose, which nobody makes unless the
/// environment asks for one.
pub fn built() -> anyhow::Result<Programs> {
    static BUILT: OnceLock<Result<Programs, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> anyhow::Result<Programs> {
    let directory = profile_directory()?;
    let profile = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(["build", "--locked", "--quiet"]);
    command.args(["-p", "annals-tests", "-p", "annals-api", "-p", "annals-projectors"]);
    command.args(["--bin", "annals-api", "--bin", "annals-projector"]);
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    if profile == "release" {
        command.arg("--release");
    }
    eprintln!("building the programs under test ({profile})");
    let output = command.output().context("cargo does not start")?;
    ensure!(output.status.success(), "the programs cannot be built:\n{}", String::from_utf8_lossy(&output.stderr));
    in_directory(&directory)
}

/// Takes them from a directory.
pub fn in_directory(directory: &Path) -> anyhow::Result<Programs> {
    let program = |name: &str| {
        let path = directory.join(name);
        ensure!(path.exists(), "{} is not there", path.display());
        Ok(path)
    };
    Ok(Programs { node: program("annals-api")?, projector: program("annals-projector")? })
}

/// The directory that this program was built into, without `deps`.
fn profile_directory() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let directory = program.parent().context("a program lies in a directory")?;
    let up = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    up.map(Path::to_path_buf).context("this program does not lie where cargo builds")
}
