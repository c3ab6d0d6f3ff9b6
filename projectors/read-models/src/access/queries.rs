//! What can be asked of `access`.

use annals_model::projection::Column;
use annals_model::projection::ColumnType::{Text, Uuid};
use annals_schemas::access::membership::Role;

use super::{WorkspaceMemberships, WorkspaceStatus, Workspaces};
use annals_model::query::{Columns, Names, Parameter, ParameterType, Query, column};

/// Queries of version 1.
pub(super) const ALL: &[Query] = &[WORKSPACES, MEMBERSHIPS];

const ID: Column = column("id", Uuid);

const WORKSPACES: Query = Query {
    name: "access.workspaces",
    doc: "The workspaces of the tenant, by slug.",
    parameters: &[
        Parameter::filter("status", ParameterType::OneOf(WorkspaceStatus::WORDS), "Only workspaces in this state."),
        Parameter::filter("slug", ParameterType::Text, "Only the workspace with this slug."),
    ],
    columns: Columns::of::<Workspaces>(),
    order: &[column("slug", Text), ID],
    rows: "SELECT * FROM workspaces",
    names: Some(Names { aggregate_type: "access.workspace", parameter: "slug" }),
    ..Query::OF_TENANT
};

const MEMBERSHIPS: Query = Query {
    name: "access.memberships",
    doc: "Who is in a workspace, and what they may do.",
    parameters: &[
        Parameter::filter("role", ParameterType::OneOf(Role::WORDS), "Only members with this role."),
        Parameter::filter("user_id", ParameterType::Uuid, "Only the membership of this person."),
    ],
    columns: Columns::of::<WorkspaceMemberships>(),
    order: &[column("user_id", Uuid), ID],
    rows: "SELECT * FROM workspace_memberships",
    ..Query::OF_WORKSPACE
};
