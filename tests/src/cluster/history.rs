//! What clients asked, when, and what they were told.

use std::fmt;
use std::sync::Arc;

use annals_model::envelope::Fingerprint;
use annals_model::ids::{AggregateId, EventId, OperationId, Scope};
use annals_model::position::PositionVector;

/// Microseconds since the history began, by the one clock of the process that writes it down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// From before a request was sent until after its answer was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Nothing happened before this.
    pub began: Moment,
    /// Whatever was answered had happened by then.
    pub ended: Moment,
}

/// An aggregate among all: its id may be taken in every workspace, and by every type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AggregateName {
    /// Tenant and workspace that its events are about; the nil workspace where they are about none.
    pub about: Scope,
    /// Its type, `portfolio.application`.
    pub of: Arc<str>,
    /// Its id.
    pub id: AggregateId,
}

impl fmt::Display for AggregateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of workspace {} of tenant {}", self.of, self.id, self.about.workspace, self.about.tenant)
    }
}

/// One try to have one command accepted.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The client request id; one id belongs to one scope here.
    pub request: Arc<str>,
    /// What was asked under that id.
    pub body: Fingerprint,
    /// Of which aggregate.
    pub aggregate: AggregateName,
    /// When.
    pub span: Span,
    /// What came of it.
    pub outcome: Outcome,
}

/// How a try ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is durable, says the answer.
    Acknowledged(Acknowledged),
    /// Refused for good: this try wrote nothing.
    Refused {
        /// Which refusal, the last part of the problem's type.
        code: String,
        /// The aggregate's version, where the refusal names it.
        seen: Option<u64>,
    },
    /// It may be sent again, and this try wrote nothing, says the answer.
    NotWritten {
        /// Which answer.
        code: String,
    },
    /// No answer, or one that leaves open whether it was written.
    Open,
}

/// What an acceptance says.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// True if it says that an earlier try was accepted.
    pub replayed: bool,
    /// The operation.
    pub operation: OperationId,
    /// The aggregate.
    pub aggregate: AggregateId,
    /// Its version behind the command.
    pub version: u64,
    /// Ids of the events, with partition and offset.
    pub events: Vec<(EventId, u16, u64)>,
    /// The consistency token, decoded.
    pub position: PositionVector,
}

impl Acknowledged {
    /// The context's number, the partition and the offset behind the command; nothing where the token is not one of a
    /// single command.
    pub fn end(&self) -> Option<(u8, u16, u64)> {
        let mut components = self.position.iter();
        let (context, partition, offset) = components.next()?;
        components.next().is_none().then_some((context, partition.0, offset.0))
    }
}

/// A version of an aggregate that somebody was shown.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The aggregate.
    pub aggregate: AggregateName,
    /// When it was asked and answered.
    pub span: Span,
    /// What was shown; 0 where it was said not to exist.
    pub version: u64,
    /// Who showed it.
    pub by: Shown,
}

/// Who showed an aggregate's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Its owner: the newest there was.
    Owner,
    /// A read model that was given the token of the write that made this version: no older.
    ReadModel {
        /// The version that the token covers.
        covers: u64,
    },
}

/// All that clients were told.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Tries of commands.
    pub attempts: Vec<Attempt>,
    /// Reads.
    pub sights: Vec<Sight>,
    /// Requests that nobody answered for good, however often they were sent.
    pub unanswered: Vec<Arc<str>>,
    /// Answers that no client should ever get.
    pub odd: Vec<String>,
}

impl History {
    /// Adds what another client was told.
    pub fn extend(&mut self, other: Self) {
        self.attempts.extend(other.attempts);
        self.sights.extend(other.sights);
        self.unanswered.extend(other.unanswered);
        self.odd.extend(other.odd);
    }

    /// Commands that were acknowledged, each counted once.
    pub fn acknowledged(&self) -> usize {
        let all = self.attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Acknowledged(_)));
        all.map(|attempt| &attempt.request).collect::<std::collections::BTreeSet<_>>().len()
    }
}
