//! `token mint`.

use std::time::Duration;

use annals_model::ids::{Actor, TenantId, UserId};
use annals_projectors::process::say;
use serde_json::json;

use crate::cli::{Global, MintArgs};
use crate::client::naming::only_id;
use crate::data_dir::{DataDir, existing};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// `token mint`. The token alone on stdout, so that it can be handed on.
pub(crate) fn mint(global: &Global, output: Output, args: &MintArgs) -> anyhow::Result<Exit> {
    let deployment = existing(global)?;
    let dir = DataDir::create(&deployment.data)?;
    let signing_key = deployment.api.signing_key.as_deref();
    let identity = dir.identity(signing_key)?;
    let own = deployment.tenant_only.unwrap_or(identity.tenant);
    let tenant = args.tenant.map_or(own, TenantId);
    let actor = match &args.actor {
        None => identity.actor(),
        Some(actor) => actor.clone(),
    };
    let roles: Vec<&str> = args.role.iter().map(String::as_str).collect();
    let life = Duration::from_secs(u64::from(args.valid_hours) * 3_600);
    let token = dir
        .signing_key(signing_key)?
        .mint(tenant, &actor, &roles, life)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let document = json!({"token": token, "tenant": tenant, "actor": actor.to_string(), "roles": roles, "valid_hours": args.valid_hours});
    say!("for tenant {tenant}, {actor}, valid for {} hours", args.valid_hours);
    output.document(&document, || token.clone())?;
    Ok(Exit::Ok)
}

/// Somebody who acts, as all output writes it. A bare id is a person's.
pub(crate) fn actor(text: &str) -> Result<Actor, String> {
    match (text.strip_prefix("service:"), text.strip_prefix("user:").unwrap_or(text)) {
        (Some(""), _) => Err("a service has a name; write service:NAME".to_owned()),
        (Some(name), _) => Ok(Actor::Service(name.into())),
        (None, id) => only_id(id)
            .map(|id| Actor::User(UserId(id)))
            .map_err(|error| format!("write user:ID or service:NAME; of the id: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_taken_as_output_writes_it() {
        for text in ["user:3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7", "service:importer"] {
            assert_eq!(actor(text).map(|actor| actor.to_string()).as_deref(), Ok(text));
        }
        assert!(actor("3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7").is_ok());
        for text in ["", "user:", "service:", "user:3F2B8C1E-4E1A-4B6E-9D53-1D1C43F1A9B7", "robot:x"] {
            assert!(actor(text).is_err(), "{text}");
        }
    }
}
