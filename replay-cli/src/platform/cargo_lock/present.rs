//! What a workspace holds now of what a lock file can say, as its read model shows it.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use crate::limits;
use annals_cli::client::{CallError, Client};
use annals_cli::exit::Failure;
use annals_cli::talk::query::{Ask, next_cursor, take_rows};

/// Applications, retired ones too, and live dependencies of any kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present {
    pub(super) applications: Vec<Known>,
    pub(super) edges: Vec<Edge>,
}

/// An application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) is_active: bool,
    /// Recorded releases, as far as somebody asks for them: the latest, or all.
    pub(super) releases: BTreeSet<String>,
}

/// A dependency that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) id: Uuid,
    pub(super) from: Uuid,
    pub(super) to: Uuid,
    pub(super) kind: String,
}

/// Where it is read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    client: &'a Client,
    workspace: Uuid,
    token: Option<String>,
}

impl<'a> Reader<'a> {
    /// Reads what covers everything that is recorded in the workspace now: rows follow commands, and those of an import
    /// that was cut off a moment ago must not be sent a second time under other ids. `candidate` is the application that
    /// an import registers first.
    pub(super) async fn begin(client: &'a Client, workspace: Uuid, candidate: Uuid) -> Result<Self, Failure> {
        let mut reader = Self { client, workspace, token: None };
        let ask = reader.ask("portfolio.applications", &[("limit", "1".to_owned())]);
        let page = ask.page(None).await.map_err(unread)?;
        let shown = page["rows"][0]["id"].as_str().and_then(|id| id.parse().ok());
        // Any aggregate will do: its owner answers with the position of the whole partition.
        let path = format!("/v1/aggregates/portfolio.application/{}", shown.unwrap_or(candidate));
        let view = client.get(&path, &[("workspace_id", workspace.to_string())]).await;
        match view {
            Ok(view) => reader.token = view["consistency_token"].as_str().map(str::to_owned),
            // Neither a row nor the first of the applications: nothing was imported yet.
            Err(CallError::Refused(problem)) if problem.status == 404 => {}
            Err(error) => return Err(unread(error)),
        }
        Ok(reader)
    }

    /// Reads it all.
    pub(super) async fn present(&self) -> Result<Present, Failure> {
        let rows = self.rows("portfolio.applications", &[]).await?;
        let applications = rows.iter().map(known).collect::<Option<_>>().ok_or_else(foreign)?;
        let rows = self.rows("portfolio.dependencies", &[]).await?;
        let edges = rows.iter().map(edge).collect::<Option<_>>().ok_or_else(foreign)?;
        Ok(Present { applications, edges })
    }

    /// All releases of an application.
    pub(super) async fn releases(&self, application: Uuid) -> Result<BTreeSet<String>, Failure> {
        let of = [("application_id", application.to_string())];
        let rows = self.rows("portfolio.application_versions", &of).await?;
        rows.iter().map(|row| text(row, "number")).collect::<Option<_>>().ok_or_else(foreign)
    }

    fn ask<'q>(&'q self, name: &'q str, more: &[(&str, String)]) -> Ask<'q> {
        let mut parameters = vec![("workspace_id".to_owned(), self.workspace.to_string())];
        parameters.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Ask { client: self.client, name, parameters, token: self.token.as_deref() }
    }

    /// All rows of a query, page by page, up to the bound.
    async fn rows(&self, name: &str, more: &[(&str, String)]) -> Result<Vec<Value>, Failure> {
        let ask = self.ask(name, &[&[("limit", annals_cli::limits::PAGE_ROWS.to_string())], more].concat());
        let mut rows = Vec::new();
        let mut cursor = None;
        loop {
            let mut page = ask.page(cursor.as_deref()).await.map_err(unread)?;
            rows.append(&mut take_rows(&mut page));
            cursor = next_cursor(&page);
            if cursor.is_none() {
                return Ok(rows);
            }
            if rows.len() >= limits::PRESENT_ROWS_MAX {
                let most = limits::PRESENT_ROWS_MAX;
                return Err(Failure::usage(format!("the workspace has more than {most} rows of {name}"))
                    .remedy("import with --add-only, which compares nothing"));
            }
        }
    }
}

fn known(row: &Value) -> Option<Known> {
    let latest = text(row, "latest_release");
    Some(Known {
        id: id(row, "id")?,
        name: text(row, "name")?,
        is_active: row["status"] == "active",
        releases: latest.into_iter().collect(),
    })
}

fn edge(row: &Value) -> Option<Edge> {
    let (from, to) = (id(row, "from_application_id")?, id(row, "to_application_id")?);
    Some(Edge { id: id(row, "id")?, from, to, kind: text(row, "kind")? })
}

fn text(row: &Value, name: &str) -> Option<String> {
    row[name].as_str().map(str::to_owned)
}

fn id(row: &Value, name: &str) -> Option<Uuid> {
    row[name].as_str()?.parse().ok()
}

fn foreign() -> Failure {
    Failure::usage("the server's rows are not those that this build knows").remedy("use the CLI of the server's build")
}

/// What the workspace holds cannot be told.
fn unread(error: CallError) -> Failure {
    let failure = Failure::from(error);
    let message = format!("what the workspace holds now cannot be read: {}", failure.message);
    let remedy = match failure.remedy.as_str() {
        "" => "see `annals status`; --add-only imports without looking".to_owned(),
        remedy => remedy.to_owned(),
    };
    Failure { message, remedy, ..failure }
}
