//! The workspace that an import goes into.

use serde_json::json;
use uuid::Uuid;

use crate::TargetWorkspace;
use annals_cli::client::{CallError, Client};
use annals_cli::exit::Failure;
use annals_cli::import::ids::derive;

/// The workspace that the command line names; made when it is named by a slug that nobody has.
pub(crate) async fn resolve(client: &Client, target: &TargetWorkspace) -> anyhow::Result<Uuid> {
    match target.workspace {
        Some(id) => Ok(id),
        None => workspace_with_slug(client, &target.workspace_slug).await,
    }
}

/// The workspace with this slug, made when missing. Asking twice makes one.
pub(crate) async fn workspace_with_slug(client: &Client, slug: &str) -> anyhow::Result<Uuid> {
    let id = derive(&["workspace", slug]);
    let body = json!({
        "client_request_id": derive(&["request", "workspace", slug]).to_string(),
        "aggregate_id": id,
        "payload": {"name": slug, "slug": slug},
    });
    match client.command("access.workspace.create", &body).await {
        Ok(answer) => Ok(answer.aggregate.id),
        Err(CallError::Refused(problem)) => match holder(&problem.document) {
            Some(holder) => Ok(holder),
            None => Err(Failure::from(CallError::Refused(problem)).into()),
        },
        Err(error) => Err(Failure::from(error).into()),
    }
}

/// The workspace that has the slug already, made by somebody else.
fn holder(document: &serde_json::Value) -> Option<Uuid> {
    document.get("holder")?.as_str()?.parse().ok()
}
