//! `config show`.

use serde_json::{Value, json};

use crate::cli::Global;
use crate::data_dir::deployment;
use crate::exit::Exit;
use crate::output::{Output, columns};

/// `config show`: every value and who says so.
pub(crate) fn show(global: &Global, output: Output) -> anyhow::Result<Exit> {
    let shown = deployment(global, Vec::new())?.show();
    let lines: Vec<Value> = shown
        .into_iter()
        .map(|one| json!({"name": one.name, "value": one.value, "origin": one.origin.to_string(), "meaning": one.meaning}))
        .collect();
    let shown = [("name", "/name"), ("value", "/value"), ("origin", "/origin"), ("meaning", "/meaning")];
    output.records(&lines, &columns(&shown))?;
    Ok(Exit::Ok)
}
