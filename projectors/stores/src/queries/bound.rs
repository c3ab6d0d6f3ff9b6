//! How long may a query take?

use std::time::Duration;

use annals_model::query::Query;

use crate::limits;

/// Longest that a query's statement may run.
pub(super) fn time_max(query: &Query) -> Duration {
    let walk = query.is_walk();
    Duration::from_millis(if walk { limits::QUERY_WALK_TIME_MS_MAX } else { limits::QUERY_TIME_MS_MAX })
}
