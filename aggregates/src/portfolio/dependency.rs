//! One application needs another, until the dependency is withdrawn. Cycles are allowed; a query reports them.

use annals_model::aggregate::{Aggregate, AnyContext, Context, Events, References, ScopeKind, UniqueKeys};
use annals_model::ids::AggregateId;
use annals_schemas::portfolio::dependency::{Declared, Event, Kind, Withdrawn};
use serde::{Deserialize, Serialize};

use super::application::Application;
use crate::limits;
use crate::text::Line;

/// What is known of a dependency.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Dependency {
    #[serde(flatten)]
    declared: Option<Declared>,
    withdrawn: bool,
}

/// `portfolio.dependency.<variant>`; the fields are the JSON payload.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Says that one application needs another.
    Declare {
        /// The one that needs.
        from_application_id: AggregateId,
        /// The one that is needed.
        to_application_id: AggregateId,
        /// When and for what; one live dependency per pair and kind.
        kind: Kind,
        /// Which of its releases, in the words of the package system.
        #[serde(default)]
        requirement: Option<Line<{ limits::REQUIREMENT_CHARS_MAX }>>,
    },
    /// Says that it needs it no longer.
    Withdraw {},
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// An application cannot depend on itself: name two.
    #[error("application {0} cannot depend on itself; name another one")]
    OnItself(AggregateId),
    /// The workspace has no such application: register it first.
    #[error("there is no application {0}; register it first")]
    NoSuchApplication(AggregateId),
    /// The application is out of use: name another.
    #[error("application {0} is retired; name another one")]
    ApplicationRetired(AggregateId),
}

fn require_application_in_use(id: AggregateId, ctx: &AnyContext<'_>) -> Result<(), Rejection> {
    match ctx.get::<Application>(id) {
        None => Err(Rejection::NoSuchApplication(id)),
        Some(application) if application.is_retired() => Err(Rejection::ApplicationRetired(id)),
        Some(_) => Ok(()),
    }
}

impl Dependency {
    /// What was declared, while it holds.
    fn live(&self) -> Option<&Declared> {
        self.declared.as_ref().filter(|_| !self.withdrawn)
    }
}

impl Aggregate for Dependency {
    const SCOPE: ScopeKind = ScopeKind::Workspace;
    const CREATED_BY: &'static [&'static str] = &["declare"];
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, ctx: &Context<'_, Self>) -> Events<Self> {
        Ok(vec![match command {
            Command::Declare { from_application_id: from, to_application_id: to, kind, requirement } => {
                if from == to {
                    return Err(Rejection::OnItself(from));
                }
                require_application_in_use(from, ctx)?;
                require_application_in_use(to, ctx)?;
                let requirement = requirement.map(Into::into);
                Declared { from_application_id: from, to_application_id: to, kind, requirement }.into()
            }
            Command::Withdraw {} if self.withdrawn => return Ok(vec![]),
            Command::Withdraw {} => Withdrawn {}.into(),
        }])
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Declared(declared) => self.declared = Some(declared.clone()),
            Event::Withdrawn(_) => self.withdrawn = true,
        }
    }

    fn unique_keys(&self) -> UniqueKeys {
        let key = |edge: &Declared| format!("{}/{}/{}", edge.from_application_id, edge.to_application_id, edge.kind);
        self.live().map(|edge| ("dependency.edge", key(edge))).into_iter().collect()
    }

    fn references(&self) -> References {
        let ends = |edge: &Declared| {
            [Application::NEEDED.to(edge.to_application_id), Application::NEEDING.to(edge.from_application_id)]
        };
        self.live().map(ends).into_iter().flatten().collect()
    }
}

#[cfg(feature = "testing")]
pub mod random;
#[cfg(test)]
mod tests;
