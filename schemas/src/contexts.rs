//! The bounded contexts and their frozen numbers: a number is part of every event id, so it is never used again.
//!
//! Reserved, built or not: identity 1, access 2, policy 3, control 4, portfolio 5, knowledge 6, conversation 7,
//! agents 8, workflow 9, tools 10, approvals 11, artifacts 12, integrations 13, mcp 14, remediation 15, audit 16.

use annals_model::ids::ContextId;

/// Workspaces and who may enter them.
pub const ACCESS: ContextId = ContextId { number: 2, name: "access" };
/// Projects, applications and what they depend on.
pub const PORTFOLIO: ContextId = ContextId { number: 5, name: "portfolio" };

/// Every context that this build knows, by number.
pub const ALL: &[ContextId] = &[ACCESS, PORTFOLIO];
