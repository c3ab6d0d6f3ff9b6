//! What a runner does wrong on purpose, in builds with the feature `seeded-bugs`.

use crate::seeded::{SeededBug, is_on};

/// Does not try again, and says nothing.
pub(super) async fn give_up() {
    if is_on(SeededBug::RunnerGivesUp) {
        std::future::pending::<()>().await;
    }
}
