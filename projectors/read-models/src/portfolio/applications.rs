//! Table `applications`: software that the workspace runs or depends on.

use annals_model::ids::AggregateId;
use annals_model::position::Sequence;
use annals_model::projection::{Fold, Index, Projection, own};
use annals_model::row;
use annals_model::time::Timestamp;
use annals_schemas::portfolio::application::{Criticality, Registered, Retired, RiskAssessed, VersionReleased};

use annals_model::word;

word! {
    /// Whether an application is in use.
    pub enum ApplicationStatus {
        Active = "active",
        /// It was retired for good.
        Retired = "retired",
    }
}

row! {
    /// A row of `applications`.
    pub struct ApplicationRow {
        /// Its name, unique among the applications in use.
        pub name: String,
        /// The project that it belongs to.
        pub project_id: Option<AggregateId>,
        /// How much harm its failure does.
        pub criticality: Criticality,
        /// Where it comes from.
        pub source: Option<String>,
        /// Number of the release that was recorded last.
        pub latest_release: Option<String>,
        /// Releases recorded.
        pub release_count: i64,
        /// How likely harm is, 1 to 5.
        pub likelihood: Option<i32>,
        /// How bad it would be, 1 to 5.
        pub impact: Option<i32>,
        /// Whether it is in use.
        pub status: ApplicationStatus,
        /// When it was registered.
        pub registered_at: Timestamp,
        /// The aggregate's version.
        pub version: Sequence,
    }
}

/// Table `applications`.
#[derive(Debug)]
pub struct Applications;

impl Projection for Applications {
    const NAME: &'static str = "applications";
    type Row = ApplicationRow;
    const INDEXES: &'static [Index] =
        &[Index::new("by_name", &["name"]), Index::new("by_project", &["project_id", "name"])];

    fn fold(on: &mut Fold<ApplicationRow>) {
        on.on::<Registered>(own, |row, event| {
            row.insert(ApplicationRow {
                name: event.payload.name.clone(),
                project_id: event.payload.project_id,
                criticality: event.payload.criticality,
                source: event.payload.source.clone(),
                latest_release: None,
                release_count: 0,
                likelihood: None,
                impact: None,
                status: ApplicationStatus::Active,
                registered_at: event.occurred_at,
                version: event.sequence,
            })
        });
        on.on::<VersionReleased>(own, |row, event| {
            row.change(|application| {
                application.latest_release = Some(event.payload.number.clone());
                application.release_count += 1;
                application.version = event.sequence;
            })
        });
        on.on::<RiskAssessed>(own, |row, event| {
            row.change(|application| {
                application.likelihood = Some(event.payload.likelihood);
                application.impact = Some(event.payload.impact);
                application.version = event.sequence;
            })
        });
        on.on::<Retired>(own, |row, event| {
            row.change(|application| {
                application.status = ApplicationStatus::Retired;
                application.version = event.sequence;
            })
        });
    }
}
