//! Lines of one partition are decided in their order, wherever its owner is and whenever it changes. Where one of them could
//! not be decided, those behind it are not either: they are handed on with it if the partition has only left, and otherwise
//! put off until that line is sent again.

use std::collections::HashMap;
use std::time::Duration;

use annals_engine::owners::{Chain, Link};
use annals_model::ids::OperationId;
use annals_model::position::ContextPartition;
use axum::http::StatusCode;
use bytes::Bytes;
use tokio::time::Instant;

use super::Outcome;
use crate::limits;
use crate::peers::Accepted;
use crate::problem::Code;

/// What became of a line.
pub(super) struct Answered {
    /// Its number.
    pub(super) line: u64,
    pub(super) outcome: Outcome,
    /// Nothing where the line itself is wrong.
    pub(super) sent: Option<Sent>,
}

/// A line's command, sent to its owner.
pub(super) struct Sent {
    pub(super) at: ContextPartition,
    pub(super) operation: OperationId,
    pub(super) deadline: Instant,
    /// The line as it came, where another node may decide it.
    pub(super) text: Option<Bytes>,
}

impl Answered {
    /// Its command may be sent again; nobody has decided it.
    fn is_undecided(&self) -> bool {
        match &self.outcome {
            Err(problem) => problem.is_passing(),
            Ok(Accepted::There(answer)) => {
                answer.get("status") == Some(&StatusCode::SERVICE_UNAVAILABLE.as_u16().into())
            }
            Ok(Accepted::Here(_)) => false,
        }
    }

    /// The partition has left, or nothing is known of an owner.
    fn is_not_owned(&self) -> bool {
        self.outcome.as_ref().is_err_and(|problem| problem.code() == Code::NotOwner)
    }
}

/// The order of a batch's lines, partition by partition.
#[derive(Debug, Default)]
pub(super) struct Orders(HashMap<ContextPartition, Order>);

/// The lines of one partition, from one line on.
#[derive(Debug, Default)]
struct Order {
    since: u64,
    chain: Chain,
    /// The first of them that was not decided, as its client was told: those behind it wait for it to come again.
    undecided: Option<OperationId>,
}

impl Orders {
    /// The place of the line that was read last, and whether lines before it are under way; nothing while it must wait.
    pub(super) fn link(&mut self, at: ContextPartition, line: u64, operation: OperationId) -> Option<(Link, bool)> {
        let order = self.0.entry(at).or_default();
        match order.undecided {
            Some(undecided) if undecided == operation => *order = Order { since: line, ..Order::default() },
            Some(_) => return None,
            None => {}
        }
        let is_under_way = order.chain.is_under_way();
        Some((order.chain.link(line), is_under_way))
    }

    /// True if the partition has left with this line undecided, and there is time to ask its next owner.
    pub(super) fn has_left(&self, answered: &Answered) -> bool {
        answered.is_not_owned() && self.can_be_handed_on(answered, Instant::now())
    }

    fn can_be_handed_on(&self, answered: &Answered, now: Instant) -> bool {
        let Some(sent) = answered.sent.as_ref().filter(|_| answered.is_undecided()) else { return false };
        let is_in_time = now + Duration::from_millis(limits::PEER_RETRY_MS) < sent.deadline;
        let order = self.0.get(&sent.at);
        is_in_time
            && sent.text.is_some()
            && order.is_some_and(|order| order.undecided.is_none() && order.since <= answered.line)
    }

    /// Which of these, all lines that were under way, are to be handed on: a line that was undecided because its partition has
    /// left, and all behind it that were not decided either. They begin a new chain.
    pub(super) fn hand_on(&mut self, answers: &[Answered]) -> Vec<bool> {
        let now = Instant::now();
        let mut left: Vec<ContextPartition> = Vec::new();
        let mut is_handed_on = Vec::with_capacity(answers.len());
        for answered in answers {
            let at = answered.sent.as_ref().map(|sent| sent.at);
            let goes = self.can_be_handed_on(answered, now)
                && (answered.is_not_owned() || at.is_some_and(|at| left.contains(&at)));
            match goes {
                true => left.extend(at.filter(|at| !left.contains(at))),
                false => self.is_told(answered),
            }
            is_handed_on.push(goes);
        }
        for at in left {
            self.0.entry(at).or_default().chain = Chain::default();
        }
        is_handed_on
    }

    /// The client is told: where the line was not decided, those behind it wait for it to come again.
    pub(super) fn is_told(&mut self, answered: &Answered) {
        if !answered.is_undecided() {
            return;
        }
        if let Some(sent) = &answered.sent
            && let Some(order) = self.0.get_mut(&sent.at)
            && order.undecided.is_none()
            && order.since <= answered.line
        {
            order.undecided = Some(sent.operation);
            order.chain.link(answered.line).leave_undecided();
        }
    }
}
