//! A small domain for engine tests: accounts with unique names that may point at a parent.

use annals_engine::command::CommandRequest;
use annals_engine::owners::AggregateAddress;
use annals_model::aggregate::{Aggregate, Context, Events, ReferenceLabel, References, ScopeKind, UniqueKeys};
use annals_model::application::Application;
use annals_model::avro::{DecodeError, Reader, put_long, put_option, put_str};
use annals_model::command_json::fingerprint;
use annals_model::context::BoundedContext;
use annals_model::envelope::SchemaId;
use annals_model::event::{EventKind, EventSet, ReleasedSchema, SchemaCatalogue};
use annals_model::ids::{Actor, AggregateId, ClientRequestId, ContextId, Scope, TenantId, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::badges::{Badge, Stamped};

pub(crate) const BANK: ContextId = ContextId { number: 200, name: "bank" };

#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub(crate) struct Account {
    #[serde(serialize_with = "shown")]
    name: String,
    balance: i64,
    parent: Option<AggregateId>,
    closed: bool,
}

/// A name that cannot be shown: a mistake in the domain's code.
pub(crate) const UNSHOWABLE: &str = "panics when it is shown";

fn shown<S: serde::Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    assert_ne!(name, UNSHOWABLE);
    serializer.serialize_str(name)
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    Open {
        name: String,
        #[serde(default)]
        parent: Option<AggregateId>,
    },
    Deposit {
        amount: i64,
    },
    Split {
        parts: i64,
    },
    Close {},
    Mirror {
        other: AggregateId,
    },
    /// The same of one that the caller has seen.
    MirrorKnown {
        other: AggregateId,
    },
    /// A mistake in the domain's code.
    Panic {},
}

#[derive(Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rejection {
    #[error("account is closed")]
    IsClosed,
    #[error("{0} accounts still point here")]
    StillNeeded(usize),
    #[error("no such account")]
    NoSuchAccount,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Opened { name: String, parent: Option<AggregateId> },
    Deposited { amount: i64 },
    Closed,
}

impl Account {
    /// Of those that point at it as their parent.
    pub(crate) const PARENT: ReferenceLabel<Self> = ReferenceLabel::new("parent");
}

impl Aggregate for Account {
    const SCOPE: ScopeKind = ScopeKind::Workspace;
    const CREATED_BY: &'static [&'static str] = &["open"];
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, ctx: &Context<'_, Self>) -> Events<Self> {
        if self.closed {
            return Err(Rejection::IsClosed);
        }
        Ok(match command {
            Command::Open { name, parent } => match parent {
                Some(parent) if ctx.get::<Self>(parent).is_none_or(|parent| parent.closed) => {
                    return Err(Rejection::NoSuchAccount);
                }
                _ => vec![Event::Opened { name, parent }],
            },
            Command::Deposit { amount: 0 } => vec![],
            Command::Deposit { amount } => vec![Event::Deposited { amount }],
            Command::Split { parts } => (0..parts).map(|amount| Event::Deposited { amount }).collect(),
            Command::Close {} => match ctx.referrers(Self::PARENT) {
                0 => vec![Event::Closed],
                n => return Err(Rejection::StillNeeded(n)),
            },
            Command::Mirror { other } => match ctx.get::<Self>(other) {
                Some(other) => vec![Event::Deposited { amount: other.balance }],
                None => return Err(Rejection::NoSuchAccount),
            },
            Command::MirrorKnown { other } => {
                let Some(other) = ctx.get::<Self>(other) else { panic!("the caller has seen account {other}") };
                vec![Event::Deposited { amount: other.balance }]
            }
            Command::Panic {} => panic!("a mistake in the domain's code"),
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Opened { name, parent } => {
                self.name.clone_from(name);
                self.parent = *parent;
            }
            Event::Deposited { amount } => self.balance = self.balance.wrapping_add(*amount),
            Event::Closed => self.closed = true,
        }
    }

    fn unique_keys(&self) -> UniqueKeys {
        if self.closed { vec![] } else { vec![("account.name", self.name.clone())] }
    }

    fn references(&self) -> References {
        self.parent.filter(|_| !self.closed).map(|parent| Self::PARENT.to(parent)).into_iter().collect()
    }
}

pub(crate) const fn kind(event_type: &'static str, schema: u32) -> EventKind {
    EventKind { event_type, oldest_version: 1, version: 1, schema: SchemaId(schema), privileged: false }
}

impl EventSet for Event {
    const CONTEXT: ContextId = BANK;
    const AGGREGATE_TYPE: &'static str = "account";
    const TYPES: &'static [EventKind] =
        &[kind("account.opened", 1), kind("account.deposited", 2), kind("account.closed", 3)];
    fn event_type(&self) -> &'static str {
        Self::TYPES[self.schema().0 as usize - 1].event_type
    }
    fn event_version(&self) -> i32 {
        1
    }
    fn schema(&self) -> SchemaId {
        SchemaId(match self {
            Self::Opened { .. } => 1,
            Self::Deposited { .. } => 2,
            Self::Closed => 3,
        })
    }
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opened { name, parent } => {
                put_str(out, name);
                put_option(out, *parent, |out, id| out.extend_from_slice(id.as_bytes()));
            }
            Self::Deposited { amount } => put_long(out, *amount),
            Self::Closed => {}
        }
    }
    fn to_json(&self) -> Value {
        match self {
            Self::Opened { name, parent } => json!({"name": name, "parent": parent}),
            Self::Deposited { amount } => json!({"amount": amount}),
            Self::Closed => json!({}),
        }
    }
    fn decode_any(schema: SchemaId, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let event = match schema.0 {
            1 => Self::Opened {
                name: reader.str()?.to_owned(),
                parent: reader.option(|r| Ok(AggregateId::from_bytes(*r.fixed()?)))?,
            },
            2 => Self::Deposited { amount: reader.long()? },
            3 => Self::Closed,
            other => return Err(DecodeError::UnknownSchema(other)),
        };
        reader.finish()?;
        Ok(event)
    }
}

const fn released(
    id: u32,
    event_type: &'static str,
    payload_json: fn(&[u8]) -> Result<Value, DecodeError>,
) -> ReleasedSchema {
    let rewrite = |payload: &[u8]| Ok(payload.to_vec());
    ReleasedSchema { id: SchemaId(id), event_type, version: 1, revision: 0, writer_schema: "", payload_json, rewrite }
}

static SCHEMAS: [ReleasedSchema; 4] = [
    released(1, "account.opened", |bytes| Event::decode_any(SchemaId(1), bytes).map(|event| event.to_json())),
    released(2, "account.deposited", |bytes| Event::decode_any(SchemaId(2), bytes).map(|event| event.to_json())),
    released(3, "account.closed", |bytes| Event::decode_any(SchemaId(3), bytes).map(|event| event.to_json())),
    released(4, "badge.stamped", |bytes| Stamped::decode_any(SchemaId(4), bytes).map(|event| event.to_json())),
];

/// Accounts and badges.
pub(crate) fn application() -> Application {
    let contexts = vec![BoundedContext::new(BANK).with::<Account>().with::<Badge>()];
    Application {
        name: "accounts",
        contexts,
        schemas: SchemaCatalogue::new(&SCHEMAS),
        read_models: vec![],
        admission: None,
    }
}

/// What a build knew that had no badges yet.
pub(crate) fn old_application() -> Application {
    let contexts = vec![BoundedContext::new(BANK).with::<Account>()];
    Application { contexts, schemas: SchemaCatalogue::new(&SCHEMAS[..3]), ..application() }
}

pub(crate) fn scope(n: u128) -> Scope {
    Scope { tenant: TenantId(Uuid::from_u128(7)), workspace: WorkspaceId(Uuid::from_u128(n)) }
}

pub(crate) fn account(n: u128) -> AggregateId {
    AggregateId(Uuid::from_u128(n))
}

/// Where account `n` of a scope is found.
pub(crate) fn address(scope: Scope, n: u128) -> AggregateAddress<'static> {
    AggregateAddress { context: BANK, aggregate_type: "account", scope, id: account(n) }
}

/// A request for account `id` of workspace 1.
pub(crate) fn request(request_id: &str, id: u128, name: &str, payload: Value) -> CommandRequest {
    request_in(scope(1), request_id, id, name, payload)
}

pub(crate) fn request_in(scope: Scope, request_id: &str, id: u128, name: &str, payload: Value) -> CommandRequest {
    let contexts = application().contexts;
    let kind = contexts[0].aggregate("account").unwrap();
    CommandRequest {
        context: BANK,
        aggregate_type: "account",
        command: kind.parse(name, payload.clone()).unwrap(),
        scope,
        workspace: scope.workspace,
        aggregate_id: Some(account(id)),
        expected_version: None,
        client_request_id: ClientRequestId::new(request_id).unwrap(),
        fingerprint: fingerprint(&json!([name, id.to_string(), payload])),
        actor: Actor::User(UserId(Uuid::from_u128(9))),
        correlation_id: None,
        causation_id: None,
        reason: None,
        adr_id: None,
        policy_decision: "test".to_owned(),
    }
}
