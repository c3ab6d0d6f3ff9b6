//! A project of a workspace. Archiving closes it for new things; restoring opens it again.

use annals_model::aggregate::{Aggregate, Context, Events, ScopeKind, UniqueKeys};
use annals_model::text::normal_form;
use annals_schemas::portfolio::project::{Archived, Created, Event, Renamed, Restored};
use serde::{Deserialize, Serialize};

use crate::text::Name;

/// What is known of a project.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Project {
    name: String,
    archived: bool,
}

/// `portfolio.project.<variant>`; the fields are the JSON payload.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Opens a project.
    Create {
        /// Its name, unique in the workspace.
        name: Name,
    },
    /// Gives it another name.
    Rename {
        /// The new name, unique in the workspace.
        name: Name,
    },
    /// Closes it for new things.
    Archive {},
    /// Opens it again.
    Restore {},
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// An archived project keeps its name: restore it first.
    #[error("project is archived; restore it first")]
    Archived,
}

impl Project {
    /// True while it is closed for new things.
    pub fn is_archived(&self) -> bool {
        self.archived
    }
}

impl Aggregate for Project {
    const SCOPE: ScopeKind = ScopeKind::Workspace;
    const CREATED_BY: &'static [&'static str] = &["create"];
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, _: &Context<'_, Self>) -> Events<Self> {
        Ok(vec![match command {
            Command::Create { name } => Created { name: name.into() }.into(),
            Command::Rename { .. } if self.archived => return Err(Rejection::Archived),
            Command::Rename { name } if name.as_str() == self.name => return Ok(vec![]),
            Command::Rename { name } => Renamed { name: name.into() }.into(),
            Command::Archive {} if self.archived => return Ok(vec![]),
            Command::Archive {} => Archived {}.into(),
            Command::Restore {} if !self.archived => return Ok(vec![]),
            Command::Restore {} => Restored {}.into(),
        }])
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Created(created) => self.name.clone_from(&created.name),
            Event::Renamed(renamed) => self.name.clone_from(&renamed.name),
            Event::Archived(_) => self.archived = true,
            Event::Restored(_) => self.archived = false,
        }
    }

    /// An archived project keeps its name, so that nobody can take it and make a restore fail.
    fn unique_keys(&self) -> UniqueKeys {
        match self.name.as_str() {
            "" => vec![],
            name => vec![("project.name", normal_form(name).into_owned())],
        }
    }
}

#[cfg(feature = "testing")]
pub mod random;
#[cfg(test)]
mod tests;
