//! Table `application_versions`: each release of each application, by (application, number).

use annals_model::event::Recorded;
use annals_model::ids::AggregateId;
use annals_model::projection::{Fold, Index, Keys, Projection, Value};
use annals_model::row;
use annals_model::time::Timestamp;
use annals_schemas::portfolio::application::VersionReleased;

row! {
    /// A row of `application_versions`.
    pub struct ApplicationVersionRow {
        /// The application.
        pub application_id: AggregateId,
        /// Version number as its makers write it.
        pub number: String,
        /// When the release was recorded.
        pub released_at: Timestamp,
    }
}

/// Table `application_versions`.
#[derive(Debug)]
pub struct ApplicationVersions;

impl Projection for ApplicationVersions {
    const NAME: &'static str = "application_versions";
    type Row = ApplicationVersionRow;
    const INDEXES: &'static [Index] = &[Index::new("by_application", &["application_id", "released_at"])];

    fn fold(on: &mut Fold<ApplicationVersionRow>) {
        on.on::<VersionReleased>(release, |row, event| {
            row.insert(ApplicationVersionRow {
                application_id: event.aggregate_id,
                number: event.payload.number.clone(),
                released_at: event.occurred_at,
            })
        });
    }
}

/// Applications share version numbers, so the number alone is no key.
fn release(event: &Recorded<'_, VersionReleased>, keys: &mut Keys) {
    keys.add_parts(&[Value::Uuid(event.aggregate_id.0), Value::Text(&event.payload.number)]);
}
