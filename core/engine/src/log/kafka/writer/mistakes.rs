//! What a writer does wrong on purpose, and where a test may stop it, in builds with the feature `seeded-bugs`.

use annals_model::position::ContextPartition;

use super::Pair;
use crate::seeded::{Point, SeededBug, is_on, reached, reached_in};

/// Nobody is fenced yet.
pub(super) fn claim_begins(at: ContextPartition) {
    reached_in(Point::ClaimBegins, at);
}

/// Nothing has left the process yet.
pub(super) fn append_begins() {
    reached(Point::AppendBegins);
}

/// With one of these mistakes, an id of which the old owner's producer does not hear.
pub(super) fn unheard(id: String, suffix: char) -> String {
    let unheard = is_on(SeededBug::MembershipInsteadOfFence) || is_on(SeededBug::OneClaimInsteadOfTwo) && suffix == 'b';
    if unheard { format!("{id}.{}", uuid::Uuid::new_v4()) } else { id }
}

/// True if [`Pair::commit_what_was_answered`] has something to commit.
pub(super) fn answers_before_the_commit() -> bool {
    is_on(SeededBug::AnswerBeforeCommit)
}

impl Pair {
    /// Only with the mistake of that name does anything wait here.
    pub(super) fn commit_what_was_answered(&mut self) {
        if answers_before_the_commit() {
            reached(Point::Produced);
            if self.producers[self.turn].commit().is_err() {
                self.spent = Some("a transaction failed".into());
            }
            self.turn = 1 - self.turn;
        }
    }
}
