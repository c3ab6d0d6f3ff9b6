//! `query`: a named query, page by page if wanted; without a name, the queries there are.

use annals_model::application::Application;
use annals_projectors::process::say;
use serde_json::{Value, json};

use crate::cli::{Global, QueryArgs};
use crate::client::naming::workspace_id;
use crate::client::{CallError, Client, with_workspace};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::output::cell::count;
use crate::output::{Column, Format, Output, columns};

/// `query`.
pub async fn run(global: &Global, output: Output, args: &QueryArgs) -> anyhow::Result<Exit> {
    let client = Client::find(global)?;
    let Some(name) = &args.name else { return list(&client, output).await };
    let mut parameters = parameters(&args.param)?;
    if let Some(workspace) = &args.workspace {
        parameters.push(("workspace_id".to_owned(), workspace_id(global, &client, workspace).await?.to_string()));
    }
    let limit = if args.all { limits::PAGE_ROWS } else { args.limit.unwrap_or(limits::PAGE_ROWS_DEFAULT) };
    parameters.push(("limit".to_owned(), limit.to_string()));
    let mut ask = Ask { client: &client, name, parameters, token: args.consistency_token.as_deref() };
    let mut page = ask.page(args.cursor.as_deref()).await.map_err(with_workspace)?;
    let mut rows = take_rows(&mut page);
    while let (true, Some(next)) = (args.all, next_cursor(&page)) {
        // The token was waited for; what follows is of the same read model or newer.
        ask.token = None;
        page = ask.page(Some(&next)).await.map_err(Failure::from)?;
        rows.append(&mut take_rows(&mut page));
    }
    write(output, &known_order(&global.application, name), page, rows)
}

fn write(output: Output, order: &[&str], mut page: Value, rows: Vec<Value>) -> anyhow::Result<Exit> {
    match output.format() {
        Format::Table => {
            match rows.is_empty() {
                true => say!("{}", no_rows(&page)),
                false => output.records(&rows, &columns_of(&rows, order))?,
            }
            if let Some(next) = next_cursor(&page) {
                say!("more rows: add --all, or --cursor {next}");
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

/// Nothing was found; whether there may be something.
fn no_rows(page: &Value) -> String {
    match page["behind_events"].as_u64() {
        None => "no rows".to_owned(),
        Some(behind) => format!(
            "no rows yet: the read model is {} events behind; `annals status` says whether anything keeps it current",
            count(behind)
        ),
    }
}

/// One query and its parameters.
#[derive(Debug)]
pub struct Ask<'a> {
    pub client: &'a Client,
    pub name: &'a str,
    pub parameters: Vec<(String, String)>,
    pub token: Option<&'a str>,
}

impl Ask<'_> {
    /// One page, from a cursor on.
    pub async fn page(&self, cursor: Option<&str>) -> Result<Value, CallError> {
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
    pub async fn all(&self) -> Result<Vec<Value>, CallError> {
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

pub fn take_rows(page: &mut Value) -> Vec<Value> {
    match page.get_mut("rows").map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    }
}

pub fn next_cursor(page: &Value) -> Option<String> {
    page.get("next_cursor").and_then(Value::as_str).map(str::to_owned)
}

/// The columns of a query as this build orders them; a server of another build may have others.
fn known_order(application: &Application, query: &str) -> Vec<&'static str> {
    let newest_first = application.read_models.iter().rev();
    let mut columns = newest_first.filter_map(|definition| {
        let known = definition.queries.iter().find(|known| known.name == query)?;
        known.columns.of_tables(definition.model.tables())
    });
    columns.next().map_or_else(Vec::new, |columns| columns.iter().map(|column| column.name).collect())
}

/// Columns that are shown on the narrowest terminal, too.
const FIRST_COLUMNS: usize = 2;

/// Columns for people: names first, ids last, and no id whose row also has the name.
pub fn columns_of(rows: &[Value], order: &[&str]) -> Vec<Column> {
    let Some(Value::Object(first)) = rows.first() else { return Vec::new() };
    let has = |name: &str| first.contains_key(name);
    let named = |name: &str| {
        let Some(of) = name.strip_suffix("_id") else { return false };
        // `from_thing_id` beside `from_name`, `thing_id` beside `thing`.
        has(of) || of.rsplit_once('_').is_some_and(|(end, _)| has(&format!("{end}_name")))
    };
    let mut names: Vec<&str> = first.keys().map(String::as_str).filter(|name| !named(name)).collect();
    names.sort_by_key(|name| {
        let rank = match *name {
            "name" | "slug" | "from_name" | "to_name" | "step" => 0,
            id if id == "id" || id.ends_with("_id") => 2,
            _ => 1,
        };
        (rank, order.iter().position(|known| known == name).unwrap_or(usize::MAX))
    });
    let column = |(index, name): (usize, &&str)| {
        let column = Column::new(&name.replace('_', " "), &format!("/{name}"));
        // What comes first tells the rows apart.
        if index < FIRST_COLUMNS { column } else { column.optional() }
    };
    names.iter().enumerate().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_names_first_and_ids_last_and_no_id_that_has_a_name() {
        let rows = [json!({"id": "x", "from_application_id": "y", "from_name": "app", "kind": "build", "a": 1})];
        let order = known_order(&annals_platform::application(), "portfolio.dependencies");
        assert!(order.contains(&"from_name"));
        let headings: Vec<String> = columns_of(&rows, &order).into_iter().map(|column| column.heading).collect();
        assert_eq!(headings, ["from name", "kind", "a", "id"]);
    }

    #[test]
    fn a_parameter_without_a_value_is_a_mistake_of_the_command_line() {
        let error = parameters(&["name".to_owned()]).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert_eq!(parameters(&["a=b=c".to_owned()]).unwrap(), [("a".to_owned(), "b=c".to_owned())]);
    }
}
