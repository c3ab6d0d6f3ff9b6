//! An account: what may happen to it, and what has.

use std::num::NonZeroU32;

use annals_model::aggregate::{Aggregate, Context, Events, ScopeKind, UniqueKeys};
use serde::{Deserialize, Serialize};

use crate::events::bank::account::{Closed, Deposited, Event, Opened, Withdrawn};

/// What decisions rest on: no more of the past than they need.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Account {
    number: String,
    balance_cents: i64,
    closed: bool,
}

/// `bank.account.<variant>`; the fields are the JSON payload. One that does not fit, such as 0 cents, is refused as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    Open { number: String, holder: String },
    Deposit { amount_cents: NonZeroU32 },
    Withdraw { amount_cents: NonZeroU32 },
    Close {},
}

/// Why a command is refused: programs read `overdraft`, people the text.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    #[error("an account needs a number")]
    NumberMissing,
    #[error("there are only {balance_cents} cents in the account")]
    Overdraft { balance_cents: i64 },
    #[error("there are still {balance_cents} cents in the account")]
    NotEmpty { balance_cents: i64 },
    #[error("the account is closed")]
    Closed,
}

impl Aggregate for Account {
    /// One bank per tenant; `Workspace` would make it one per workspace.
    const SCOPE: ScopeKind = ScopeKind::Tenant;
    /// A second `open` is refused, and a `deposit` before it: no rule below says so.
    const CREATED_BY: &'static [&'static str] = &["open"];
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    /// From a command to what happened, or to why not. Pure: no clock, no I/O, no randomness.
    fn decide(&self, command: Command, _: &Context<'_, Self>) -> Events<Self> {
        let balance_cents = self.balance_cents;
        Ok(vec![match command {
            Command::Open { number, .. } if number.trim().is_empty() => return Err(Rejection::NumberMissing),
            Command::Open { number, holder } => Opened { number, holder }.into(),
            _ if self.closed => return Err(Rejection::Closed),
            Command::Deposit { amount_cents } => Deposited { amount_cents: amount_cents.get().into() }.into(),
            Command::Withdraw { amount_cents } => match i64::from(amount_cents.get()) {
                amount_cents if amount_cents > balance_cents => return Err(Rejection::Overdraft { balance_cents }),
                amount_cents => Withdrawn { amount_cents }.into(),
            },
            Command::Close {} if balance_cents != 0 => return Err(Rejection::NotEmpty { balance_cents }),
            Command::Close {} => Closed {}.into(),
        }])
    }

    /// What happened, applied. It never refuses: this is history.
    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Opened(opened) => self.number.clone_from(&opened.number),
            Event::Deposited(deposited) => self.balance_cents += deposited.amount_cents,
            Event::Withdrawn(withdrawn) => self.balance_cents -= withdrawn.amount_cents,
            Event::Closed(_) => self.closed = true,
        }
    }

    /// What no two accounts of the bank may share. A closed one keeps its number.
    fn unique_keys(&self) -> UniqueKeys {
        vec![("account.number", self.number.clone())]
    }
}
