//! `command list` and `command show`: what the server's own catalogue says.

use annals_projectors::process::tool;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{Output, columns, render, render_pairs};

async fn catalogue(client: &Client) -> anyhow::Result<Vec<Value>> {
    let catalogue = client.get("/v1/commands", &[]).await.map_err(Failure::from)?;
    Ok(catalogue["commands"].as_array().cloned().unwrap_or_default())
}

/// `command list`.
pub async fn list(global: &Global, output: Output) -> anyhow::Result<Exit> {
    let mut commands = catalogue(&Client::find(global)?).await?;
    for command in &mut commands {
        let fields = command["fields"].as_array().into_iter().flatten();
        let fields = fields.map(|field| {
            let name = field["name"].as_str().unwrap_or_default();
            if field["required"] == true { format!("{name} (needed)") } else { name.to_owned() }
        });
        command["takes"] = json!(fields.collect::<Vec<_>>().join(", "));
    }
    output.records(&commands, &columns(&[("command", "/type"), ("creates", "/creates"), ("fields", "/takes")]))?;
    Ok(Exit::Ok)
}

/// `command show`.
pub async fn show(global: &Global, output: Output, command_type: &str) -> anyhow::Result<Exit> {
    let commands = catalogue(&Client::find(global)?).await?;
    let command = commands.iter().find(|command| command["type"] == command_type).ok_or_else(|| {
        Failure::usage(format!("there is no command {command_type:?}")).remedy("`annals command list` names them")
    })?;
    output.document(command, || described(command_type, command))?;
    Ok(Exit::Ok)
}

fn described(command_type: &str, command: &Value) -> String {
    let needs = |name: &str| command["needs"].as_array().is_some_and(|needs| needs.iter().any(|needed| needed == name));
    let mut send = format!("{} command send {command_type}", tool::name());
    if needs("workspace_id") {
        send += " --workspace ID|SLUG";
    }
    if needs("aggregate_id") {
        send += " --id ID";
    }
    if command["example"].as_object().is_some_and(|example| !example.is_empty()) {
        send += &format!(" --payload '{}'", command["example"]);
    }
    let creates = if command["creates"] == true { "makes a new one" } else { "changes one that is there" };
    let aggregate = format!("{}: {creates}", command["aggregate"].as_str().unwrap_or_default());
    let head = render_pairs(&[("aggregate", aggregate), ("send", send)]);
    let fields: Vec<Value> = command["fields"].as_array().into_iter().flatten().map(field).collect();
    if fields.is_empty() {
        return format!("{head}\n\nno fields");
    }
    let columns = columns(&[("field", "/name"), ("type", "/type"), ("needed", "/required"), ("values", "/values")]);
    format!("{head}\n\n{}", render(&fields, &columns))
}

/// A field with what its values may be, in one line.
fn field(field: &Value) -> Value {
    let words =
        field["words"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let values = if words.is_empty() { field["rule"].as_str().unwrap_or_default().to_owned() } else { words };
    json!({ "name": field["name"], "type": field["type"], "required": field["required"], "values": values })
}
