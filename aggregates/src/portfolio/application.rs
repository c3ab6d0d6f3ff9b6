//! Software that the workspace runs or builds on, until it is retired.

use std::sync::Arc;

use annals_model::aggregate::{Aggregate, AnyContext, Context, Events, ReferenceLabel, ScopeKind, UniqueKeys};
use annals_model::ids::AggregateId;
use annals_model::text::normal_form;
use annals_schemas::portfolio::application::{Criticality, Event, Registered, Retired, RiskAssessed, VersionReleased};
use rpds::RedBlackTreeSetSync;
use serde::{Deserialize, Serialize};

use super::project::Project;
use crate::limits;
use crate::scale::Grade;
use crate::text::{Line, Name, Note};

/// What is known of an application.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Application {
    name: String,
    project_id: Option<AggregateId>,
    criticality: Criticality,
    source: Option<String>,
    /// Every number released so far: shares its structure, so that a decision copies a few nodes of it, or none.
    releases: RedBlackTreeSetSync<Arc<str>>,
    risk: Option<Risk>,
    retired: bool,
}

/// The newest assessment of the risk of running it, each from 1 to 5.
#[derive(Clone, Copy, Debug, Serialize)]
struct Risk {
    likelihood: i32,
    impact: i32,
}

/// `portfolio.application.<variant>`; the fields are the JSON payload.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Takes an application into the portfolio.
    Register {
        /// Its name, unique among the workspace's applications that are not retired.
        name: Name,
        /// The project that it belongs to, which must be active.
        #[serde(default)]
        project_id: Option<AggregateId>,
        /// How much harm its failure does; `medium` unless told.
        #[serde(default)]
        criticality: Criticality,
        /// Where it comes from, a registry or repository address.
        #[serde(default)]
        source: Option<Line<{ limits::SOURCE_CHARS_MAX }>>,
    },
    /// Says that a version is out. Saying it again changes nothing.
    ReleaseVersion {
        /// The version's number, in the application's own way of numbering.
        number: Line<{ limits::RELEASE_NUMBER_CHARS_MAX }>,
    },
    /// Records an assessment of the risk of running it: an event even if it finds what the last one found.
    AssessRisk {
        /// How likely harm is.
        likelihood: Grade,
        /// How bad it would be.
        impact: Grade,
        /// Why, in words.
        #[serde(default)]
        note: Option<Note>,
    },
    /// Takes it out of use. Its own dependencies stay until they are withdrawn.
    Retire {
        /// Retire it even if others depend on it; the command must then give a reason.
        #[serde(default)]
        force: bool,
    },
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The workspace has no such project: create it first, or leave project_id out.
    #[error("there is no project {0}; create it first, or leave project_id out")]
    NoSuchProject(AggregateId),
    /// The project takes nothing new: restore it first, or name another.
    #[error("project {0} is archived; restore it first, or name another")]
    ProjectArchived(AggregateId),
    /// Nothing changes any more: register it anew.
    #[error("application is retired; register it anew")]
    Retired,
    /// It has as many releases as one application may have: register its successor.
    #[error("application has {0} releases, the most that there may be; register its successor")]
    TooManyReleases(usize),
    /// Others depend on it: withdraw their dependencies, or force with a reason.
    #[error("{0} live dependencies point at the application; withdraw them, or retire with force and a reason")]
    StillNeeded(usize),
    /// Force must be accounted for: give the command a reason.
    #[error("retiring with force needs a reason; give the command one")]
    ForceWithoutReason,
}

impl Application {
    /// Of live dependencies on it.
    pub(super) const NEEDED: ReferenceLabel<Self> = ReferenceLabel::new("dependency");
    /// Of its own live dependencies.
    pub(super) const NEEDING: ReferenceLabel<Self> = ReferenceLabel::new("dependent");

    /// True once it is out of use.
    pub fn is_retired(&self) -> bool {
        self.retired
    }
}

fn require_active_project(id: AggregateId, ctx: &AnyContext<'_>) -> Result<(), Rejection> {
    match ctx.get::<Project>(id) {
        None => Err(Rejection::NoSuchProject(id)),
        Some(project) if project.is_archived() => Err(Rejection::ProjectArchived(id)),
        Some(_) => Ok(()),
    }
}

fn decide_retire(force: bool, ctx: &Context<'_, Application>) -> Events<Application> {
    let has_reason = ctx.reason.is_some_and(|reason| !reason.trim().is_empty());
    match ctx.referrers(Application::NEEDED) {
        _ if force && !has_reason => Err(Rejection::ForceWithoutReason),
        0 => Ok(vec![Retired { forced: false }.into()]),
        _ if force => Ok(vec![Retired { forced: true }.into()]),
        dependents => Err(Rejection::StillNeeded(dependents)),
    }
}

impl Aggregate for Application {
    const SCOPE: ScopeKind = ScopeKind::Workspace;
    const CREATED_BY: &'static [&'static str] = &["register"];
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, ctx: &Context<'_, Self>) -> Events<Self> {
        Ok(vec![match command {
            Command::Register { name, project_id, criticality, source } => {
                project_id.map_or(Ok(()), |id| require_active_project(id, ctx))?;
                Registered { name: name.into(), project_id, criticality, source: source.map(Into::into) }.into()
            }
            Command::Retire { .. } if self.retired => return Ok(vec![]),
            _ if self.retired => return Err(Rejection::Retired),
            Command::ReleaseVersion { number } if self.releases.contains(number.as_str()) => return Ok(vec![]),
            Command::ReleaseVersion { .. } if self.releases.size() >= limits::RELEASES_MAX => {
                return Err(Rejection::TooManyReleases(self.releases.size()));
            }
            Command::ReleaseVersion { number } => VersionReleased { number: number.into() }.into(),
            Command::AssessRisk { likelihood, impact, note } => {
                let note = note.map(Into::into);
                RiskAssessed { likelihood: likelihood.grade(), impact: impact.grade(), note }.into()
            }
            Command::Retire { force } => return decide_retire(force, ctx),
        }])
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Registered(registered) => {
                self.name.clone_from(&registered.name);
                self.project_id = registered.project_id;
                self.criticality = registered.criticality;
                self.source.clone_from(&registered.source);
            }
            Event::VersionReleased(released) => {
                self.releases.insert_mut(released.number.as_str().into());
            }
            Event::RiskAssessed(assessed) => {
                self.risk = Some(Risk { likelihood: assessed.likelihood, impact: assessed.impact });
            }
            Event::Retired(_) => self.retired = true,
        }
    }

    fn unique_keys(&self) -> UniqueKeys {
        match self.name.as_str() {
            "" => vec![],
            _ if self.retired => vec![],
            name => vec![("application.name", normal_form(name).into_owned())],
        }
    }
}

#[cfg(feature = "testing")]
pub mod random;
#[cfg(test)]
mod tests;
