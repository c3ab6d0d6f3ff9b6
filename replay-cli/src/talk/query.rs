//! `query`: a named query, page by page if wanted; without a name, the queries there are.

use serde_json::{Value, json};

use crate::cli::{Global, QueryArgs};
use crate::client::workspace::workspace_id;
use crate::client::{CallError, Client};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::output::{Column, Format, Output, columns};

/// `query`.
pub(crate) async fn run(global: &Global, output: Output, args: &QueryArgs) -> anyhow::Result<Exit> {
    let client = Client::find(global)?;
    let Some(name) = &args.name else { return list(&client, output).await };
    let mut parameters = parameters(&args.param)?;
    if let Some(workspace) = &args.workspace {
        parameters.push(("workspace_id".to_owned(), workspace_id(&client, workspace).await?.to_string()));
    }
    let limit = if args.all { limits::PAGE_ROWS } else { args.limit.unwrap_or(limits::PAGE_ROWS_DEFAULT) };
    parameters.push(("limit".to_owned(), limit.to_string()));
    let mut ask = Ask { client: &client, name, parameters, token: args.consistency_token.as_deref() };
    let mut page = ask.page(args.cursor.as_deref()).await.map_err(Failure::from)?;
    let mut rows = take_rows(&mut page);
    while let (true, Some(next)) = (args.all, next_cursor(&page)) {
        // The token was waited for; what follows is of the same read model or newer.
        ask.token = None;
        page = ask.page(Some(&next)).await.map_err(Failure::from)?;
        rows.append(&mut take_rows(&mut page));
    }
    write(output, page, rows)
}

fn write(output: Output, mut page: Value, rows: Vec<Value>) -> anyhow::Result<Exit> {
    match output.format() {
        Format::Table => {
            output.records(&rows, &columns_of(&rows))?;
            if let Some(next) = next_cursor(&page) {
                eprintln!("more rows: add --all, or --cursor {next}");
            }
        }
        Format::Json => {
            page["rows"] = Value::Array(rows);
            output.document(&page, String::new)?;
        }
        Format::Jsonl => output.records(&rows, &[])?,
    }
    Ok(Exit::Ok)
}

/// One query and its parameters.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) client: &'a Client,
    pub(crate) name: &'a str,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) token: Option<&'a str>,
}

impl Ask<'_> {
    /// One page, from a cursor on.
    pub(crate) async fn page(&self, cursor: Option<&str>) -> Result<Value, CallError> {
        let path = format!("/v1/queries/{}", self.name);
        let mut parameters: Vec<(&str, String)> =
            self.parameters.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        parameters.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        match self.token {
            Some(token) => self.client.get_at(&path, &parameters, token).await,
            None => self.client.get(&path, &parameters).await,
        }
    }

    /// All rows.
    pub(crate) async fn all(&self) -> Result<Vec<Value>, CallError> {
        let mut rows = Vec::new();
        let mut cursor = None;
        loop {
            let mut page = self.page(cursor.as_deref()).await?;
            rows.append(&mut take_rows(&mut page));
            cursor = next_cursor(&page);
            if cursor.is_none() {
                return Ok(rows);
            }
        }
    }
}

async fn list(client: &Client, output: Output) -> anyhow::Result<Exit> {
    let catalogue = client.get("/v1/queries", &[]).await.map_err(Failure::from)?;
    let mut queries = catalogue["queries"].as_array().cloned().unwrap_or_default();
    for query in &mut queries {
        let names = |list: &Value| {
            let all = list.as_array().into_iter().flatten();
            all.map(|parameter| {
                let name = parameter["name"].as_str().unwrap_or_default();
                if parameter["required"] == true { format!("{name} (needed)") } else { name.to_owned() }
            })
            .collect::<Vec<_>>()
        };
        query["takes"] = json!(names(&query["parameters"]).join(", "));
    }
    output.records(
        &queries,
        &columns(&[("query", "/name"), ("scope", "/scope"), ("parameters", "/takes"), ("what it answers", "/doc")]),
    )?;
    Ok(Exit::Ok)
}

fn parameters(pairs: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let split = |pair: &String| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    pairs
        .iter()
        .map(|pair| split(pair).ok_or_else(|| Failure::usage(format!("--param {pair}: write it as KEY=VALUE"))))
        .collect()
}

fn take_rows(page: &mut Value) -> Vec<Value> {
    match page.get_mut("rows").map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    }
}

fn next_cursor(page: &Value) -> Option<String> {
    page.get("next_cursor").and_then(Value::as_str).map(str::to_owned)
}

/// Columns for people: what every row leaves empty is left out, and so is an id whose row also has the name.
pub(crate) fn columns_of(rows: &[Value]) -> Vec<Column> {
    let Some(Value::Object(first)) = rows.first() else { return columns(&[("(no rows)", "/")]) };
    let has = |name: &str| first.contains_key(name);
    let shown = |name: &str| {
        let named = name.strip_suffix("_application_id").is_some_and(|end| has(&format!("{end}_name")))
            || name.strip_suffix("_id").is_some_and(has);
        !named && rows.iter().any(|row| row.get(name).is_some_and(|value| !value.is_null()))
    };
    // A name says more than an id, so it comes first.
    let mut names: Vec<&String> = first.keys().filter(|name| shown(name)).collect();
    names.sort_by_key(|name| !matches!(name.as_str(), "name" | "slug" | "from_name" | "to_name" | "step"));
    names.iter().map(|name| Column::new(&name.replace('_', " "), &format!("/{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_names_before_ids_and_leaves_empty_columns_out() {
        let rows = [
            json!({"id": "x", "from_application_id": "y", "from_name": "app", "kind": "build", "requirement": null}),
            json!({"id": "x", "from_application_id": "y", "from_name": "tool", "kind": "build", "requirement": null}),
        ];
        let headings = format!("{:?}", columns_of(&rows));
        assert!(!headings.contains("requirement") && !headings.contains("from application id"), "{headings}");
        assert!(headings.find("from name") < headings.find("\"id\""), "{headings}");
    }

    #[test]
    fn a_parameter_without_a_value_is_a_mistake_of_the_command_line() {
        let error = parameters(&["name".to_owned()]).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert_eq!(parameters(&["a=b=c".to_owned()]).unwrap(), [("a".to_owned(), "b=c".to_owned())]);
    }
}
