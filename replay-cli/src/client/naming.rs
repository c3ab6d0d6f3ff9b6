//! Things by id, or by the name that people know them by.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Client;
use crate::exit::{Exit, Failure};
use crate::limits;

/// The workspace that the user means: an id as it is, a slug looked up among the tenant's workspaces.
pub(crate) async fn workspace_id(client: &Client, text: &str) -> anyhow::Result<Uuid> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let found = first_id(client, "access.workspaces", &[("slug", text.to_owned())]).await?;
    found.ok_or_else(|| {
        Failure::new(Exit::Failed, format!("there is no workspace {text:?}"))
            .remedy("name one by id or slug; `annals query access.workspaces` lists them")
            .into()
    })
}

/// The aggregate that the user means: an id as it is; an application by its name, a workspace by its slug.
pub(crate) async fn aggregate_id(
    client: &Client,
    aggregate_type: &str,
    workspace: Option<Uuid>,
    text: &str,
) -> anyhow::Result<Uuid> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let found = match (aggregate_type, workspace) {
        ("access.workspace", None) => return workspace_id(client, text).await,
        ("portfolio.application", Some(workspace)) => {
            let parameters = [("workspace_id", workspace.to_string()), ("name", text.to_owned())];
            first_id(client, "portfolio.applications", &parameters).await?
        }
        ("portfolio.application", None) => {
            return Err(Failure::usage("an application's name is looked up in a workspace")
                .remedy("add --workspace")
                .into());
        }
        (kind, _) if !kind.contains('.') => {
            return Err(Failure::usage(format!("{kind:?} is no type of aggregate"))
                .remedy("write it as context.aggregate, like portfolio.application")
                .into());
        }
        (kind, _) => return Err(Failure::usage(format!("{text:?} is no id; name the {kind} by its uuid")).into()),
    };
    found.ok_or_else(|| Failure::new(Exit::Failed, format!("there is no {aggregate_type} {text:?} here")).into())
}

/// What a query finds under a name. Rows follow commands by some milliseconds: who has just made a thing may name it.
async fn first_id(client: &Client, query: &str, parameters: &[(&str, String)]) -> anyhow::Result<Option<Uuid>> {
    let patience = Instant::now() + Duration::from_millis(limits::NAME_WAIT_MS);
    loop {
        let page = client.get(&format!("/v1/queries/{query}"), parameters).await.map_err(Failure::from)?;
        let rows = page["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        // A name that was given up may be another's now: what is in use comes first.
        let row = rows.iter().find(|row| row["status"] == "active").or_else(|| rows.first());
        let found = row.and_then(|row| row["id"].as_str()?.parse().ok());
        if found.is_some() || Instant::now() >= patience {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(limits::NAME_POLL_MS)).await;
    }
}
