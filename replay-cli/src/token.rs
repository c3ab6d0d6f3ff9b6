//! `token mint`.

use std::time::Duration;

use annals_model::ids::TenantId;
use annals_projectors::process::say;
use serde_json::json;

use crate::cli::{Global, MintArgs};
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
