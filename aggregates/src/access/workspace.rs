//! A workspace of a tenant, until it is archived. Its aggregate id is the workspace id of everything in it.

use annals_model::aggregate::{Aggregate, Context, Events, ReferenceLabel, ScopeKind, UniqueKeys};
use annals_model::application::Standing;
use annals_schemas::access::workspace::{Archived, Created, Event, Isolation, IsolationSet, Renamed, RetentionSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scale::RetentionDays;
use crate::text::{Name, Slug};

/// What is known of a workspace.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Workspace {
    name: String,
    slug: String,
    retention_days: Option<i64>,
    isolation: Isolation,
    archived: bool,
}

/// `access.workspace.<variant>`; the fields are the JSON payload.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Opens a workspace.
    Create {
        /// Its name.
        name: Name,
        /// Its short name in addresses, unique in the tenant, for ever: addresses must not come to mean another place.
        slug: Slug,
    },
    /// Gives it another name.
    Rename {
        /// The new name.
        name: Name,
    },
    /// Sets how long it keeps what may be thrown away.
    SetRetention {
        /// Days.
        retention_days: RetentionDays,
    },
    /// Sets how it is kept apart from others.
    SetIsolation {
        /// The kind of isolation.
        isolation: Isolation,
    },
    /// Closes it for good.
    Archive {},
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Nothing changes any more: use another workspace.
    #[error("workspace is archived; use another one")]
    Archived,
    /// The nil id stands for the tenant itself: choose another id, or none.
    #[error("a workspace cannot have the nil id; send another aggregate_id, or none")]
    NilId,
}

/// Whether a workspace may be worked in, by its state as clients see it. One that does not say is none to work in.
pub(super) fn standing(state: &Value) -> Standing {
    #[derive(Deserialize)]
    struct Seen {
        archived: bool,
    }
    match Seen::deserialize(state) {
        Ok(Seen { archived: false }) => Standing::Open,
        Ok(Seen { archived: true }) | Err(_) => Standing::Closed,
    }
}

impl Workspace {
    /// Of its active memberships.
    pub(super) const MEMBERSHIP: ReferenceLabel<Self> = ReferenceLabel::new("membership");
    /// Of those among them that own it.
    pub(super) const OWNER: ReferenceLabel<Self> = ReferenceLabel::new("owner");

    /// True once it is closed for good.
    pub fn is_archived(&self) -> bool {
        self.archived
    }
}

impl Aggregate for Workspace {
    const SCOPE: ScopeKind = ScopeKind::Tenant;
    const CREATED_BY: &'static [&'static str] = &["create"];
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, ctx: &Context<'_, Self>) -> Events<Self> {
        Ok(vec![match command {
            Command::Create { .. } if ctx.aggregate_id.0.is_nil() => return Err(Rejection::NilId),
            Command::Create { name, slug } => Created { name: name.into(), slug: slug.into() }.into(),
            Command::Archive {} if self.archived => return Ok(vec![]),
            _ if self.archived => return Err(Rejection::Archived),
            Command::Rename { name } if name.as_str() == self.name => return Ok(vec![]),
            Command::Rename { name } => Renamed { name: name.into() }.into(),
            Command::SetRetention { retention_days } if self.retention_days == Some(retention_days.get()) => {
                return Ok(vec![]);
            }
            Command::SetRetention { retention_days } => RetentionSet { retention_days: retention_days.get() }.into(),
            Command::SetIsolation { isolation } if isolation == self.isolation => return Ok(vec![]),
            Command::SetIsolation { isolation } => IsolationSet { isolation }.into(),
            Command::Archive {} => Archived {}.into(),
        }])
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Created(created) => {
                self.name.clone_from(&created.name);
                self.slug.clone_from(&created.slug);
            }
            Event::Renamed(renamed) => self.name.clone_from(&renamed.name),
            Event::RetentionSet(set) => self.retention_days = Some(set.retention_days),
            Event::IsolationSet(set) => self.isolation = set.isolation,
            Event::Archived(_) => self.archived = true,
        }
    }

    fn unique_keys(&self) -> UniqueKeys {
        match self.slug.as_str() {
            "" => vec![],
            slug => vec![("workspace.slug", slug.to_owned())],
        }
    }
}

#[cfg(feature = "testing")]
pub mod random;
#[cfg(test)]
mod tests;
