//! Table `projects`.

use annals_model::position::Sequence;
use annals_model::projection::{Fold, Index, Projection, own};
use annals_model::row;
use annals_schemas::portfolio::project::{Archived, Created, Renamed, Restored};

use annals_model::word;

word! {
    /// Whether a project takes new things.
    pub enum ProjectStatus {
        Active = "active",
        /// It is put aside, until it is restored.
        Archived = "archived",
    }
}

row! {
    /// A row of `projects`.
    pub struct ProjectRow {
        /// Its name, unique in the workspace.
        pub name: String,
        /// Whether it takes new things.
        pub status: ProjectStatus,
        /// The aggregate's version.
        pub version: Sequence,
    }
}

/// Table `projects`.
#[derive(Debug)]
pub struct Projects;

impl Projection for Projects {
    const NAME: &'static str = "projects";
    type Row = ProjectRow;
    const INDEXES: &'static [Index] = &[Index::new("by_name", &["name"])];

    fn fold(on: &mut Fold<ProjectRow>) {
        on.on::<Created>(own, |row, event| {
            row.insert(ProjectRow {
                name: event.payload.name.clone(),
                status: ProjectStatus::Active,
                version: event.sequence,
            })
        });
        on.on::<Renamed>(own, |row, event| {
            row.change(|project| {
                project.name.clone_from(&event.payload.name);
                project.version = event.sequence;
            })
        });
        on.on::<Archived>(own, |row, event| {
            row.change(|project| {
                project.status = ProjectStatus::Archived;
                project.version = event.sequence;
            })
        });
        on.on::<Restored>(own, |row, event| {
            row.change(|project| {
                project.status = ProjectStatus::Active;
                project.version = event.sequence;
            })
        });
    }
}
