//! A person's place in a workspace, until it is removed. Who comes back gets a new membership.

use annals_model::aggregate::{Aggregate, AnyContext, Context, Events, References, ScopeKind, UniqueKeys};
use annals_model::ids::{AggregateId, UserId, WorkspaceId};
use annals_schemas::access::membership::{Added, Event, Removed, Role, RoleChanged};
use serde::{Deserialize, Serialize};

use super::workspace::Workspace;
use crate::text::Name;

/// What is known of a membership.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Membership {
    workspace_id: WorkspaceId,
    user_id: UserId,
    role: Role,
    team: Option<String>,
    state: State,
}

/// Where in its life a membership stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    #[default]
    Absent,
    Active,
    Removed,
}

/// `access.membership.<variant>`; the fields are the JSON payload. The command names the workspace.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Takes a person into the workspace.
    Add {
        /// The person.
        user_id: UserId,
        /// What they may do.
        role: Role,
        /// The team they belong to.
        #[serde(default)]
        team: Option<Name>,
    },
    /// Changes what the person may do.
    ChangeRole {
        /// The new role.
        role: Role,
    },
    /// Ends the membership.
    Remove {},
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The tenant has no such workspace: name one that it has, or create it first.
    #[error("there is no workspace {0}; create it first")]
    NoSuchWorkspace(WorkspaceId),
    /// Members of an archived workspace stay as they are: use another workspace.
    #[error("workspace {0} is archived; use another one")]
    WorkspaceArchived(WorkspaceId),
    /// The command names another workspace than the membership's: name this one.
    #[error("the membership belongs to workspace {0}; name that one in the command")]
    OfAnotherWorkspace(WorkspaceId),
    /// A removed membership stays removed: add the person again, as a new membership.
    #[error("membership was removed; add the person again, as a new membership")]
    Removed,
    /// A workspace that has owners keeps one: make somebody else an owner first.
    #[error("this is the workspace's last owner; make somebody else an owner first")]
    LastOwner,
}

impl Membership {
    fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// True if the workspace would be without an owner if this one went.
    fn is_last_owner(&self, ctx: &AnyContext<'_>) -> bool {
        self.role == Role::Owner && ctx.referrers_of(workspace_reference(self.workspace_id), Workspace::OWNER) <= 1
    }
}

/// A workspace's id is its aggregate's id.
fn workspace_reference(workspace: WorkspaceId) -> AggregateId {
    AggregateId(workspace.0)
}

fn require_active_workspace(ctx: &AnyContext<'_>) -> Result<(), Rejection> {
    match ctx.get::<Workspace>(workspace_reference(ctx.workspace)) {
        None => Err(Rejection::NoSuchWorkspace(ctx.workspace)),
        Some(workspace) if workspace.is_archived() => Err(Rejection::WorkspaceArchived(ctx.workspace)),
        Some(_) => Ok(()),
    }
}

impl Aggregate for Membership {
    const SCOPE: ScopeKind = ScopeKind::TenantAboutWorkspace;
    const CREATED_BY: &'static [&'static str] = &["add"];
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, ctx: &Context<'_, Self>) -> Events<Self> {
        require_active_workspace(ctx)?;
        Ok(vec![match command {
            Command::Add { user_id, role, team } => {
                Added { workspace_id: ctx.workspace, user_id, role, team: team.map(Into::into) }.into()
            }
            // The caller was let in for the workspace that the command names, not for this one.
            _ if self.workspace_id != ctx.workspace => return Err(Rejection::OfAnotherWorkspace(self.workspace_id)),
            Command::Remove {} if self.state == State::Removed => return Ok(vec![]),
            _ if self.state == State::Removed => return Err(Rejection::Removed),
            Command::ChangeRole { role } if role == self.role => return Ok(vec![]),
            _ if self.is_last_owner(ctx) => return Err(Rejection::LastOwner),
            Command::ChangeRole { role } => RoleChanged { role }.into(),
            Command::Remove {} => Removed {}.into(),
        }])
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Added(added) => {
                self.workspace_id = added.workspace_id;
                self.user_id = added.user_id;
                self.role = added.role;
                self.team.clone_from(&added.team);
                self.state = State::Active;
            }
            Event::RoleChanged(changed) => self.role = changed.role,
            Event::Removed(_) => self.state = State::Removed,
        }
    }

    fn unique_keys(&self) -> UniqueKeys {
        match self.state {
            State::Active => vec![("membership.user", format!("{}/{}", self.workspace_id, self.user_id))],
            State::Absent | State::Removed => vec![],
        }
    }

    fn references(&self) -> References {
        let workspace = workspace_reference(self.workspace_id);
        match (self.is_active(), self.role) {
            (true, Role::Owner) => vec![Workspace::MEMBERSHIP.to(workspace), Workspace::OWNER.to(workspace)],
            (true, _) => vec![Workspace::MEMBERSHIP.to(workspace)],
            (false, _) => vec![],
        }
    }
}

#[cfg(feature = "testing")]
pub mod random;
#[cfg(test)]
mod tests;
