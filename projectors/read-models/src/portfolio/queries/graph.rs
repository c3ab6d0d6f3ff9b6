//! What depends on what: edges with the names of both ends, and cycles.

use annals_model::projection::Column;
use annals_model::projection::ColumnType::{Int, Text, Uuid};
use annals_schemas::portfolio::dependency::Kind;

use super::{ID, NAME};
use annals_model::query::{Columns, Parameter, ParameterType, Query, column, nullable};

const KIND: Parameter = Parameter::filter("kind", ParameterType::OneOf(Kind::WORDS), "Only dependencies of this kind.");
const FROM: Column = column("from_application_id", Uuid);
const TO: Column = column("to_application_id", Uuid);

/// Edges whose ends both have a row: the domain lets no other be declared, and applications are never deleted.
const EDGES: &str = "SELECT edges.id, edges.from_application_id, needing.name AS from_name,
            edges.to_application_id, needed.name AS to_name, edges.kind, edges.requirement, edges.version
     FROM dependencies AS edges
     JOIN applications AS needing ON needing.id = edges.from_application_id
     JOIN applications AS needed ON needed.id = edges.to_application_id";

pub(super) const DEPENDENCIES: Query = Query {
    name: "portfolio.dependencies",
    doc: "Which application needs which, with the names of both.",
    parameters: &[
        Parameter::filter("from_application_id", ParameterType::Uuid, "Only what this application needs."),
        Parameter::filter("to_application_id", ParameterType::Uuid, "Only what needs this application."),
        KIND,
    ],
    columns: Columns::Listed(&[
        ID,
        FROM,
        column("from_name", Text),
        TO,
        column("to_name", Text),
        column("kind", Text),
        nullable("requirement", Text),
        column("version", Int),
    ]),
    // Not by the names: an index has the ids in order, while names of joined rows would be sorted for every page.
    order: &[FROM, TO, ID],
    rows: EDGES,
    ..Query::OF_WORKSPACE
};

pub(super) const DEPENDENTS: Query = Query {
    name: "portfolio.dependents",
    doc: "Which applications need this one directly, by name: whom to ask before it changes.",
    parameters: &[
        Parameter::filter("application_id", ParameterType::Uuid, "The application that is needed.")
            .on("to_application_id"),
        Parameter::filter("name", ParameterType::Text, "The name of the application that is needed.").on("to_name"),
        KIND,
    ],
    any_of: &["application_id", "name"],
    columns: Columns::Listed(&[
        column("application_id", Uuid),
        NAME,
        column("kind", Text),
        nullable("requirement", Text),
        TO,
        column("to_name", Text),
        column("dependency_id", Uuid),
    ]),
    order: &[NAME, column("kind", Text), column("dependency_id", Uuid)],
    rows: "SELECT edges.id AS dependency_id, edges.from_application_id AS application_id, needing.name,
                  edges.kind, edges.requirement, edges.to_application_id, needed.name AS to_name
           FROM dependencies AS edges
           JOIN applications AS needing ON needing.id = edges.from_application_id
           JOIN applications AS needed ON needed.id = edges.to_application_id",
    ..Query::OF_WORKSPACE
};

/// Walks forward in layers: which applications are `depth` edges away. Then, from the least depth at which the walk is
/// back at the start, goes the layers backward and keeps one application of each: the least id that fits. The layers are
/// sets, so the work is at most edges × depth, and the rows of the walk are bounded besides. PostgreSQL walks layer by layer,
/// as far as somebody takes another row; SQLite would walk to the end first, and takes order and bound inside the walk.
pub(super) const CYCLE: Query = Query {
    name: "portfolio.cycle",
    doc: "A shortest cycle of at most 12 dependencies through an application, step by step from that application back \
          to itself; no rows = there is none. The last step leads to the first application again.",
    parameters: &[Parameter::argument("application_id", ParameterType::Uuid, "The application.")],
    columns: Columns::Listed(&[
        column("step", Int),
        column("application_id", Uuid),
        NAME,
        column("kind", Text),
        TO,
        column("to_name", Text),
    ]),
    order: &[column("step", Int)],
    rows: "WITH RECURSIVE
             reach (node, depth) AS (
               SELECT :application_id, 0
               UNION
               SELECT edges.to_application_id, reach.depth + 1
               FROM reach JOIN dependencies AS edges ON edges.from_application_id = reach.node
               WHERE reach.depth < 12 AND (reach.depth = 0 OR reach.node <> :application_id)
               /*sqlite: ORDER BY 2 LIMIT 200000*/
             ),
             walk (node, depth) AS MATERIALIZED (SELECT node, depth FROM reach LIMIT 200000),
             closing (length) AS (SELECT min(depth) FROM walk WHERE depth > 0 AND node = :application_id),
             back (node, depth) AS (
               SELECT :application_id, length FROM closing WHERE length IS NOT NULL
               UNION ALL
               SELECT (SELECT before.node FROM dependencies AS edges CROSS JOIN walk AS before
                       WHERE edges.to_application_id = back.node AND before.node = edges.from_application_id
                         AND before.depth = back.depth - 1
                       ORDER BY before.node LIMIT 1),
                      back.depth - 1
               FROM back WHERE back.depth > 0
             )
           SELECT here.depth + 1 AS step, here.node AS application_id, needing.name,
                  (SELECT min(edges.kind) FROM dependencies AS edges
                   WHERE edges.from_application_id = here.node AND edges.to_application_id = next.node) AS kind,
                  next.node AS to_application_id, needed.name AS to_name, FALSE AS gave_up
           FROM back AS here
           JOIN back AS next ON next.depth = here.depth + 1
           JOIN applications AS needing ON needing.id = here.node
           JOIN applications AS needed ON needed.id = next.node
           UNION ALL
           SELECT 0, NULL, NULL, NULL, NULL, NULL, TRUE
           WHERE (SELECT length FROM closing) IS NULL AND (SELECT count(*) FROM walk) >= 200000",
    gave_up: Some("gave_up"),
    ..Query::OF_WORKSPACE
};
