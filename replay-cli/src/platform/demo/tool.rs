//! The operator's commands as the demo runs them: this very binary, its progress on stderr, its result as JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::Value;
use tokio::process::Command;

use super::stage::Stage;

/// This binary, on the demo's data directory.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    binary: PathBuf,
    data: PathBuf,
}

impl Tool {
    /// This very binary.
    pub(crate) fn new(data: &Path) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("the path of this program is not known")?;
        Ok(Self { binary, data: data.to_owned() })
    }

    /// Where it is.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Shows the command, runs it as another process, and gives what it printed; a failure ends the demo.
    pub(crate) async fn run(&self, stage: &Stage, arguments: &[&str]) -> anyhow::Result<Value> {
        let line = format!("annals {}", arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
        stage.command(&line);
        let child = Command::new(&self.binary)
            .args(arguments)
            .args(["--output", "json", "--data"])
            .arg(&self.data)
            .env_remove("ANNALS_URL")
            .env_remove("ANNALS_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.binary.display()))?;
        let output = child.wait_with_output().await?;
        anyhow::ensure!(output.status.success(), "`{line}` ended with {}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("`{line}` printed no JSON"))
    }
}

fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}
