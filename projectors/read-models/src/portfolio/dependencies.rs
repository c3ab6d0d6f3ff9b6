//! Table `dependencies`: which application needs which, until it no longer does.

use annals_model::ids::AggregateId;
use annals_model::position::Sequence;
use annals_model::projection::{Fold, Index, Projection, own};
use annals_model::row;
use annals_schemas::portfolio::dependency::{Declared, Kind, Withdrawn};

row! {
    /// A row of `dependencies`.
    pub struct DependencyRow {
        /// The application that needs.
        pub from_application_id: AggregateId,
        /// The application that is needed.
        pub to_application_id: AggregateId,
        /// When and for what it is needed.
        pub kind: Kind,
        /// Which versions will do; nothing = any.
        pub requirement: Option<String>,
        /// The aggregate's version.
        pub version: Sequence,
    }
}

/// Table `dependencies`.
#[derive(Debug)]
pub struct Dependencies;

impl Projection for Dependencies {
    const NAME: &'static str = "dependencies";
    type Row = DependencyRow;
    const INDEXES: &'static [Index] = &[
        Index::new("by_from", &["from_application_id", "to_application_id"]),
        Index::new("by_to", &["to_application_id", "from_application_id"]),
    ];

    fn fold(on: &mut Fold<DependencyRow>) {
        on.on::<Declared>(own, |row, event| {
            row.insert(DependencyRow {
                from_application_id: event.payload.from_application_id,
                to_application_id: event.payload.to_application_id,
                kind: event.payload.kind,
                requirement: event.payload.requirement.clone(),
                version: event.sequence,
            })
        });
        on.on::<Withdrawn>(own, |row, _| row.delete());
    }
}
