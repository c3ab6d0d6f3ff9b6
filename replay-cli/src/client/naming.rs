//! Things by id, or by the name that people know them by.

use std::time::Duration;

use annals_model::application::Application;
use annals_model::query::{Names, Query, QueryScope};
use tokio::time::Instant;
use uuid::Uuid;

use super::Client;
use crate::cli::Global;
use crate::exit::{Exit, Failure};
use crate::id::{id, or_id};
use crate::limits;
use crate::output::cell::count;

/// The workspace that the user means: an id as it is, a name looked up among the tenant's workspaces.
pub async fn workspace_id(global: &Global, client: &Client, text: &str) -> anyhow::Result<Uuid> {
    if let Some(id) = id(text) {
        return Ok(id);
    }
    let rule = global.application.admission;
    let kind = rule.map(|rule| format!("{}.{}", rule.context, rule.aggregate_type));
    let Some((query, names)) = kind.and_then(|kind| naming(&global.application, &kind)) else {
        let failure = format!("{text:?} is no id; name the workspace by its uuid{}", or_id(text));
        return Err(Failure::usage(failure).into());
    };
    let found = first_id(client, query.name, &[(names.parameter, text.to_owned())]).await?;
    if let Named::NotYet(behind) = found {
        return Err(not_yet(&format!("workspace {text:?}"), behind).into());
    }
    found.id().ok_or_else(|| {
        let (by, query) = (names.parameter, query.name);
        Failure::new(Exit::Failed, format!("there is no workspace {text:?}{}", or_id(text)))
            .remedy(format!("name one by id or {by}; `annals query {query}` lists them"))
            .into()
    })
}

/// The newest query that finds aggregates of this type by a name.
fn naming<'a>(application: &'a Application, aggregate_type: &str) -> Option<(&'a Query, Names)> {
    let queries = application.read_models.iter().rev().flat_map(|definition| definition.queries);
    queries.filter_map(|query| Some((query, query.names?))).find(|(_, names)| names.aggregate_type == aggregate_type)
}

/// The aggregate that the user means: an id as it is, a name where a query finds it by that.
pub async fn aggregate_id(
    global: &Global,
    client: &Client,
    aggregate_type: &str,
    workspace: Option<Uuid>,
    text: &str,
) -> anyhow::Result<Uuid> {
    if let Some(id) = id(text) {
        return Ok(id);
    }
    let mut kinds = global.application.contexts.iter().flat_map(|context| {
        context.aggregates().map(move |kind| format!("{}.{}", context.id(), kind.aggregate_type()))
    });
    if !kinds.any(|kind| kind == aggregate_type) {
        return Err(Failure::usage(format!("{aggregate_type:?} is no type of aggregate"))
            .remedy("write it as context.aggregate; `annals command list` has them")
            .into());
    }
    let Some((query, names)) = naming(&global.application, aggregate_type) else {
        let failure = format!("{text:?} is no id; name the {aggregate_type} by its uuid{}", or_id(text));
        return Err(Failure::usage(failure).into());
    };
    let mut parameters = vec![(names.parameter, text.to_owned())];
    match (query.scope, workspace) {
        (QueryScope::Workspace, Some(workspace)) => parameters.push(("workspace_id", workspace.to_string())),
        (QueryScope::Workspace, None) => {
            let failure = format!("the {} of a {aggregate_type} is looked up in a workspace", names.parameter);
            return Err(Failure::usage(failure).remedy("add --workspace").into());
        }
        (QueryScope::Tenant, _) => {}
    }
    let found = first_id(client, query.name, &parameters).await?;
    if let Named::NotYet(behind) = found {
        return Err(not_yet(&format!("{aggregate_type} {text:?}"), behind).into());
    }
    found.id().ok_or_else(|| {
        Failure::new(Exit::Failed, format!("there is no {aggregate_type} {text:?} here{}", or_id(text))).into()
    })
}

/// What is known under a name.
enum Named {
    Id(Uuid),
    Nothing,
    /// Nothing, but the rows do not stand for so many events.
    NotYet(u64),
}

impl Named {
    fn id(self) -> Option<Uuid> {
        match self {
            Self::Id(id) => Some(id),
            Self::Nothing | Self::NotYet(_) => None,
        }
    }
}

fn not_yet(what: &str, behind: u64) -> Failure {
    Failure::new(Exit::Failed, format!("{what} is not known yet: its read model is {} events behind", count(behind)))
        .remedy("try again; where that does not help, `annals status` says whether anything keeps it current")
}

/// What a query finds under a name. Rows follow commands by some milliseconds: who has just made a thing may name it.
async fn first_id(client: &Client, query: &str, parameters: &[(&str, String)]) -> anyhow::Result<Named> {
    let patience = Instant::now() + Duration::from_millis(limits::NAME_WAIT_MS);
    loop {
        let page = client.get(&format!("/v1/queries/{query}"), parameters).await.map_err(Failure::from)?;
        let rows = page["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        // A name that was given up may be another's now: what is in use comes first.
        let row = rows.iter().find(|row| row["status"] == "active").or_else(|| rows.first());
        let found = row.and_then(|row| row["id"].as_str()?.parse().ok());
        if let Some(found) = found {
            return Ok(Named::Id(found));
        }
        if Instant::now() >= patience {
            return Ok(page["behind_events"].as_u64().map_or(Named::Nothing, Named::NotYet));
        }
        tokio::time::sleep(Duration::from_millis(limits::NAME_POLL_MS)).await;
    }
}
