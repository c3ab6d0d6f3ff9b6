//! `promtool`, which checks alert rules: the machine's own, or Debian's, unpacked once where Cargo builds.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::directories;

const NEEDS: &str =
    "the alert rules are tested with promtool: install Prometheus (on Debian: apt-get install prometheus)";

/// Where it is. Several tests at a time, also of several processes, fetch once.
pub fn find() -> anyhow::Result<PathBuf> {
    let on_path = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if on_path.is_ok_and(|status| status.success()) {
        return Ok("promtool".into());
    }
    let directory = directories::kept()?.join("promtool");
    std::fs::create_dir_all(&directory)?;
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    let program = directory.join("usr/bin/promtool");
    if !program.exists() {
        fetch(&directory).context(NEEDS)?;
    }
    Ok(program)
}

fn fetch(directory: &Path) -> anyhow::Result<()> {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(directory).output()?;
        ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        anyhow::Ok(())
    };
    // A machine whose lists of packages are old or empty needs them first.
    if run("apt-get", &["download", "prometheus"]).is_err() {
        run("apt-get", &["update"])?;
        run("apt-get", &["download", "prometheus"])?;
    }
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run("dpkg", &["-x", &path.display().to_string(), "."])?;
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
