//! A request, checked completely before anything is read.

use super::cursor::{Asked, CursorKey};
use super::error::QuestionError;
use super::parameter::{self, Given};
use super::{Query, QueryScope};
use crate::ids::{TenantId, WorkspaceId};
use crate::limits;
use crate::projection::OwnedValue;

/// What is asked, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRequest {
    /// The query.
    pub name: String,
    /// Who asks: their tenant, from their token.
    pub tenant: TenantId,
    /// The workspace that it is about; nothing for queries about the tenant as a whole.
    pub workspace: Option<WorkspaceId>,
    /// Parameters as they came, name and text.
    pub parameters: Vec<(String, String)>,
    /// Most rows of the page; nothing = [`limits::QUERY_PAGE_ROWS_DEFAULT`].
    pub limit: Option<u32>,
    /// Where the page begins; nothing = at the start.
    pub cursor: Option<String>,
}

/// A page that may be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The query.
    pub query: &'static Query,
    /// Whose rows.
    pub tenant: TenantId,
    /// In which workspace; nil for those of the tenant as a whole.
    pub workspace: WorkspaceId,
    /// The values of its parameters.
    pub given: Vec<Given>,
    /// The order columns of the row that the page begins behind.
    pub after: Option<Vec<OwnedValue>>,
    /// Most rows of the page.
    pub limit: u32,
}

impl Question {
    /// What a request asks of this query, with a cursor that `key` signed.
    pub fn read(query: &'static Query, request: &QueryRequest, key: &CursorKey) -> Result<Self, QuestionError> {
        let workspace = workspace(query, request.workspace)?;
        let limit = limit(request.limit)?;
        let given = parameter::parse(query, &request.parameters)?;
        let asked = Asked { query, tenant: request.tenant, workspace, given: &given };
        let after = match &request.cursor {
            Some(cursor) => Some(key.open(asked, cursor).ok_or(QuestionError::InvalidCursor)?),
            None => None,
        };
        Ok(Self { query, tenant: request.tenant, workspace, given, after, limit })
    }

    /// Asks for what comes behind the row with these order columns.
    pub fn cursor(&self, key: &CursorKey, last: &[OwnedValue]) -> String {
        let Self { query, tenant, workspace, given, .. } = self;
        key.issue(Asked { query, tenant: *tenant, workspace: *workspace, given }, last)
    }
}

impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

fn workspace(query: &'static Query, asked: Option<WorkspaceId>) -> Result<WorkspaceId, QuestionError> {
    // Rows of the tenant as a whole lie under the nil id: no request reaches them by naming it.
    let asked = asked.filter(|workspace| *workspace != WorkspaceId::NIL);
    match (query.scope, asked) {
        (QueryScope::Tenant, None) => Ok(WorkspaceId::NIL),
        (QueryScope::Tenant, Some(_)) => Err(QuestionError::WorkspaceNotWanted { query: query.name }),
        (QueryScope::Workspace, Some(workspace)) => Ok(workspace),
        (QueryScope::Workspace, None) => Err(QuestionError::WorkspaceMissing { query: query.name }),
    }
}

fn limit(asked: Option<u32>) -> Result<u32, QuestionError> {
    match asked.unwrap_or(limits::QUERY_PAGE_ROWS_DEFAULT) {
        limit @ 1..=limits::QUERY_PAGE_ROWS_MAX => Ok(limit),
        limit => Err(QuestionError::LimitOutOfRange { limit }),
    }
}
