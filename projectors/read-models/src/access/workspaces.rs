//! Table `workspaces`: every workspace that a tenant ever had; its id is the workspace id of everything in it.

use annals_model::position::Sequence;
use annals_model::projection::{Fold, Index, Projection, own};
use annals_model::row;
use annals_model::time::Timestamp;
use annals_schemas::access::workspace::{Archived, Created, Isolation, IsolationSet, Renamed, RetentionSet};

use annals_model::word;

word! {
    /// Whether a workspace takes commands.
    pub enum WorkspaceStatus {
        Active = "active",
        /// It was closed for good.
        Archived = "archived",
    }
}

row! {
    /// A row of `workspaces`.
    pub struct WorkspaceRow {
        /// What people call it.
        pub name: String,
        /// Its name in addresses, unique in the tenant.
        pub slug: String,
        /// Days that data is kept after its last change; nothing = no rule.
        pub retention_days: Option<i64>,
        /// How its data is kept apart from others.
        pub isolation: Isolation,
        /// Whether it takes commands.
        pub status: WorkspaceStatus,
        /// When it was created.
        pub created_at: Timestamp,
        /// The aggregate's version.
        pub version: Sequence,
    }
}

/// Table `workspaces`.
#[derive(Debug)]
pub struct Workspaces;

impl Projection for Workspaces {
    const NAME: &'static str = "workspaces";
    type Row = WorkspaceRow;
    const INDEXES: &'static [Index] = &[Index::new("by_slug", &["slug"])];

    fn fold(on: &mut Fold<WorkspaceRow>) {
        on.on::<Created>(own, |row, event| {
            row.insert(WorkspaceRow {
                name: event.payload.name.clone(),
                slug: event.payload.slug.clone(),
                retention_days: None,
                isolation: Isolation::default(),
                status: WorkspaceStatus::Active,
                created_at: event.occurred_at,
                version: event.sequence,
            })
        });
        on.on::<Renamed>(own, |row, event| {
            row.change(|workspace| {
                workspace.name.clone_from(&event.payload.name);
                workspace.version = event.sequence;
            })
        });
        on.on::<RetentionSet>(own, |row, event| {
            row.change(|workspace| {
                workspace.retention_days = Some(event.payload.retention_days);
                workspace.version = event.sequence;
            })
        });
        on.on::<IsolationSet>(own, |row, event| {
            row.change(|workspace| {
                workspace.isolation = event.payload.isolation;
                workspace.version = event.sequence;
            })
        });
        on.on::<Archived>(own, |row, event| {
            row.change(|workspace| {
                workspace.status = WorkspaceStatus::Archived;
                workspace.version = event.sequence;
            })
        });
    }
}
