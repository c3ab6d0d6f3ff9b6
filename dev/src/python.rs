//! A Python with libraries, for tests that show what a stock client of another language makes of ours: fetched once with
//! pip into the directory that Cargo builds into. Needs Python 3.9 or newer, and fails with these words where it is
//! missing: nothing is skipped.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::directories;

/// The interpreter of an environment that has these libraries (`name==version`). Several tests at a time, also of
/// several processes, fetch once.
pub fn with(name: &str, libraries: &[&str]) -> anyhow::Result<PathBuf> {
    let directory = directories::kept()?.join(format!("python-{name}"));
    std::fs::create_dir_all(&directory)?;
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    let (interpreter, complete) = (directory.join("environment/bin/python"), directory.join("complete"));
    let wanted = libraries.join("\n");
    if std::fs::read_to_string(&complete).is_ok_and(|found| found == wanted) {
        return Ok(interpreter);
    }
    let needs = "this test needs a stock client in Python: install Python 3.9 or newer with venv and pip (on Debian: \
                 python3-venv)";
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory.join("environment"))).context(needs)?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(&interpreter).args(install).args(libraries))
        .with_context(|| format!("pip could not fetch {}", libraries.join(", ")))?;
    std::fs::write(complete, wanted)?;
    Ok(interpreter)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&text));
    Ok(())
}
