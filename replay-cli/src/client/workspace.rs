//! Workspaces by id or by slug.

use uuid::Uuid;

use super::Client;
use crate::exit::{Exit, Failure};

/// The workspace that the user means: an id as it is, a slug looked up among the tenant's workspaces.
pub(crate) async fn workspace_id(client: &Client, text: &str) -> anyhow::Result<Uuid> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let page =
        client.get("/v1/queries/access.workspaces", &[("slug", text.to_owned())]).await.map_err(Failure::from)?;
    let found = page.pointer("/rows/0/id").and_then(|id| id.as_str()?.parse().ok());
    found.ok_or_else(|| {
        Failure::new(Exit::Failed, format!("there is no workspace {text:?}"))
            .remedy("name one by id or slug; `annals query access.workspaces` lists them")
            .into()
    })
}
