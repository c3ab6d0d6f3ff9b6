//! What can be asked of `portfolio`. The graph questions are in `graph`.

mod graph;

use annals_model::projection::Column;
use annals_model::projection::ColumnType::{Int, Text, Timestamp, Uuid};
use annals_schemas::portfolio::application::Criticality;

use super::{ApplicationStatus, ApplicationVersions, Applications, ProjectStatus, Projects};
use annals_model::query::{Columns, Names, Parameter, ParameterType, Query, column, nullable};

/// Queries of every version: each answers with the columns that its tables have.
pub(super) const ALL: &[Query] = &[
    PROJECTS,
    APPLICATIONS,
    APPLICATION_VERSIONS,
    APPLICATION_COUNTS,
    graph::DEPENDENCIES,
    graph::DEPENDENTS,
    graph::CYCLE,
];

const ID: Column = column("id", Uuid);
const NAME: Column = column("name", Text);
const APPLICATION_STATUS: ParameterType = ParameterType::OneOf(ApplicationStatus::WORDS);

const PROJECTS: Query = Query {
    name: "portfolio.projects",
    doc: "The projects of a workspace, by name.",
    parameters: &[Parameter::filter(
        "status",
        ParameterType::OneOf(ProjectStatus::WORDS),
        "Only projects in this state.",
    )],
    columns: Columns::of::<Projects>(),
    order: &[NAME, ID],
    rows: "SELECT * FROM projects",
    ..Query::OF_WORKSPACE
};

const APPLICATIONS: Query = Query {
    name: "portfolio.applications",
    doc: "The applications of a workspace, by name.",
    parameters: &[
        Parameter::filter("status", APPLICATION_STATUS, "Only applications in this state."),
        Parameter::filter("project_id", ParameterType::Uuid, "Only applications of this project."),
        Parameter::filter(
            "criticality",
            ParameterType::OneOf(Criticality::WORDS),
            "Only applications whose failure does this much harm.",
        ),
        Parameter::filter("name", ParameterType::Text, "Only applications with exactly this name."),
        Parameter::prefix("name_prefix", "name", "Only applications whose name begins like this."),
    ],
    columns: Columns::of::<Applications>(),
    order: &[NAME, ID],
    rows: "SELECT * FROM applications",
    names: Some(Names { aggregate_type: "portfolio.application", parameter: "name" }),
    ..Query::OF_WORKSPACE
};

const APPLICATION_VERSIONS: Query = Query {
    name: "portfolio.application_versions",
    doc: "The releases of an application, in the order in which they were recorded.",
    parameters: &[
        Parameter::filter("application_id", ParameterType::Uuid, "The application.").required(),
        Parameter::filter("number", ParameterType::Text, "Only the release with exactly this number."),
    ],
    columns: Columns::of::<ApplicationVersions>().without_id(),
    order: &[column("released_at", Timestamp), ID],
    rows: "SELECT * FROM application_versions",
    ..Query::OF_WORKSPACE
};

const APPLICATION_COUNTS: Query = Query {
    name: "portfolio.application_counts",
    doc: "How many applications each project has, by status; project null = applications without a project.",
    parameters: &[
        Parameter::filter("project_id", ParameterType::Uuid, "Only the counts of this project."),
        Parameter::filter("status", APPLICATION_STATUS, "Only the counts of applications in this state."),
    ],
    columns: Columns::Listed(&[
        nullable("project_id", Uuid),
        nullable("project", Text),
        column("status", Text),
        column("applications", Int),
    ]),
    order: &[column("project_order", Text), column("status", Text), ID],
    rows: "SELECT counts.id, counts.project_id, projects.name AS project, coalesce(projects.name, '') AS project_order,
                  counts.status, counts.applications
           FROM application_counts AS counts LEFT JOIN projects ON projects.id = counts.project_id",
    ..Query::OF_WORKSPACE
};
