//! A second aggregate of the test domain: the tenant's, about a workspace, under the ids of accounts.

use annals_engine::command::CommandRequest;
use annals_model::aggregate::{Aggregate, Context, Events, ScopeKind};
use annals_model::avro::{DecodeError, Reader};
use annals_model::envelope::SchemaId;
use annals_model::event::{EventKind, EventSet};
use annals_model::ids::{ContextId, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::accounts::{BANK, application, kind, request_in};

#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub(crate) struct Badge {
    stamps: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    Issue {},
    Stamp {},
}

#[derive(Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rejection {}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stamped;

impl Aggregate for Badge {
    const SCOPE: ScopeKind = ScopeKind::TenantAboutWorkspace;
    const CREATED_BY: &'static [&'static str] = &["issue"];
    type Command = Command;
    type Event = Stamped;
    type Rejection = Rejection;

    fn decide(&self, _: Command, _: &Context<'_, Self>) -> Events<Self> {
        Ok(vec![Stamped])
    }

    fn evolve(&mut self, _: &Stamped) {
        self.stamps += 1;
    }
}

impl EventSet for Stamped {
    const CONTEXT: ContextId = BANK;
    const AGGREGATE_TYPE: &'static str = "badge";
    const TYPES: &'static [EventKind] = &[kind("badge.stamped", 4)];
    fn event_type(&self) -> &'static str {
        Self::TYPES[0].event_type
    }
    fn event_version(&self) -> i32 {
        1
    }
    fn schema(&self) -> SchemaId {
        SchemaId(4)
    }
    fn encode(&self, _: &mut Vec<u8>) {}
    fn to_json(&self) -> Value {
        json!({})
    }
    fn decode_any(schema: SchemaId, payload: &[u8]) -> Result<Self, DecodeError> {
        match schema.0 {
            4 => Reader::new(payload).finish().map(|()| Self),
            other => Err(DecodeError::UnknownSchema(other)),
        }
    }
}

/// A request for badge `id` of the tenant, about a workspace.
pub(crate) fn badge_request(about: Scope, request_id: &str, id: u128, name: &str) -> CommandRequest {
    let contexts = application().contexts;
    let command = contexts[0].aggregate("badge").unwrap().parse(name, json!({})).unwrap();
    let of_account = request_in(about, request_id, id, "close", json!({}));
    let fingerprint = annals_model::command_json::fingerprint(&json!(["badge", name, id.to_string(), about.workspace]));
    CommandRequest {
        aggregate_type: "badge",
        command,
        scope: Scope::of_tenant(about.tenant),
        fingerprint,
        ..of_account
    }
}
