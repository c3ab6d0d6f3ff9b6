//! Things by id, or by the name that people know them by.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Client;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::output::cell::count;

/// An id in the one spelling in which all output has it: lower case, with hyphens. What a UUID may also be written as,
/// in capitals, without hyphens, in braces, can be somebody's name or slug.
pub(crate) fn id(text: &str) -> Option<Uuid> {
    text.parse::<Uuid>().ok().filter(|id| id.hyphenated().to_string() == text)
}

/// The same where nothing but an id can be meant, for the command line's parser.
pub(crate) fn only_id(text: &str) -> Result<Uuid, String> {
    match (id(text), text.parse::<Uuid>()) {
        (Some(id), _) => Ok(id),
        (None, Ok(otherwise)) => Err(format!("write the id as {otherwise}")),
        (None, Err(_)) => Err("it is no id, like 3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7".to_owned()),
    }
}

/// What else a name that nobody has may have meant.
fn or_id(text: &str) -> String {
    text.parse::<Uuid>().map_or_else(|_| String::new(), |id| format!("; if you mean an id, write {id}"))
}

/// The workspace that the user means: an id as it is, a slug looked up among the tenant's workspaces.
pub(crate) async fn workspace_id(client: &Client, text: &str) -> anyhow::Result<Uuid> {
    if let Some(id) = id(text) {
        return Ok(id);
    }
    let found = first_id(client, "access.workspaces", &[("slug", text.to_owned())]).await?;
    if let Named::NotYet(behind) = found {
        return Err(not_yet(&format!("workspace {text:?}"), behind).into());
    }
    found.id().ok_or_else(|| {
        Failure::new(Exit::Failed, format!("there is no workspace {text:?}{}", or_id(text)))
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
    if let Some(id) = id(text) {
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
        (kind, _) => {
            let failure = format!("{text:?} is no id; name the {kind} by its uuid{}", or_id(text));
            return Err(Failure::usage(failure).into());
        }
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling_and_the_others_are_names() {
        let text = "3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7";
        assert_eq!(id(text).map(|id| id.to_string()).as_deref(), Some(text));
        let (capitals, plain) = (text.to_uppercase(), text.replace('-', ""));
        for otherwise in [&capitals, &plain, &format!("{{{text}}}"), &format!("urn:uuid:{text}")] {
            assert_eq!(id(otherwise), None, "{otherwise}");
            assert_eq!(only_id(otherwise), Err(format!("write the id as {text}")));
            assert!(or_id(otherwise).ends_with(text));
        }
        assert!(only_id("home").is_err());
        assert_eq!(or_id("home"), "");
    }
}
