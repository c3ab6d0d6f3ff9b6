//! What can be asked of the bank: tables that follow the events and can always be made again, and queries over them.

use annals_model::event::Recorded;
use annals_model::ids::AggregateId;
use annals_model::projection::ColumnType::{self, Text, Uuid};
use annals_model::projection::{Contributions, Fold, Index, Projection, ReadModel, Rollup, each, own};
use annals_model::query::{Columns, Names, Parameter, ParameterType, Query, column};
use annals_model::read_model::Definition;
use annals_model::row;
use annals_model::time::Timestamp;

use crate::events::CATALOGUE;
use crate::events::bank::account::{Closed, Deposited, Opened, Withdrawn};

/// All versions, side by side in one build: a running bank stays on its own until somebody promotes another.
pub fn definitions() -> Vec<Definition> {
    let v2 = || ReadModel::new("bank", 2, &CATALOGUE).table::<Account>().table::<Movement>().rollup::<Holder>();
    // An older version is the next one, less what is new there.
    let v1 = v2().older(1).without::<Account>(&["movements"]);
    vec![Definition::new(v1, QUERIES), Definition::new(v2(), QUERIES)]
}

row! {
    /// Table `accounts`: a row per account.
    pub struct Account {
        pub number: String,
        pub holder: String,
        pub balance_cents: i64,
        pub movements: i64,
        pub closed: bool,
    }
}

impl Projection for Account {
    const NAME: &'static str = "accounts";
    type Row = Self;
    const INDEXES: &'static [Index] = &[Index::new("by_number", &["number"])];

    /// What each event does to its row; `own`: the one with the account's id.
    fn fold(on: &mut Fold<Self>) {
        on.on::<Opened>(own, |row, event| {
            let Opened { number, holder } = event.payload.clone();
            row.insert(Account { number, holder, balance_cents: 0, movements: 0, closed: false })
        });
        on.on::<Deposited>(own, |row, event| row.change(|account| account.book(event.payload.amount_cents)));
        on.on::<Withdrawn>(own, |row, event| row.change(|account| account.book(-event.payload.amount_cents)));
        on.on::<Closed>(own, |row, _| row.change(|account| account.closed = true));
    }
}

impl Account {
    fn book(&mut self, amount_cents: i64) {
        self.balance_cents += amount_cents;
        self.movements += 1;
    }
}

row! {
    /// Table `movements`: a row per deposit and per withdrawal, whose amount is below 0.
    pub struct Movement {
        pub account_id: AggregateId,
        pub amount_cents: i64,
        pub booked_at: Timestamp,
    }
}

impl Projection for Movement {
    const NAME: &'static str = "movements";
    type Row = Self;
    const INDEXES: &'static [Index] = &[Index::new("by_account", &["account_id", "booked_at"])];

    /// `each`: every event has a row of its own.
    fn fold(on: &mut Fold<Self>) {
        on.on::<Deposited>(each, |row, event| row.insert(movement(event, event.payload.amount_cents)));
        on.on::<Withdrawn>(each, |row, event| row.insert(movement(event, -event.payload.amount_cents)));
    }
}

fn movement<E>(event: &Recorded<'_, E>, amount_cents: i64) -> Movement {
    Movement { account_id: event.aggregate_id, amount_cents, booked_at: event.occurred_at }
}

row! {
    /// Rollup `holders`: how many accounts each holder has, and how much is in them.
    pub struct Holder { pub holder: String }
}

impl Rollup for Holder {
    const NAME: &'static str = "holders";
    type Of = Account;
    type Group = Self;
    const MEASURES: &'static [&'static str] = &["accounts", "balance_cents"];

    fn contribute(account: &Account, out: &mut Contributions<Self>) {
        out.add(Self { holder: account.holder.clone() }, &[1, account.balance_cents]);
    }
}

/// A SELECT each, over the tables by their bare names. Filters, pages and whose rows anybody may see come by themselves.
const QUERIES: &[Query] = &[
    Query {
        name: "bank.accounts",
        doc: "The accounts, by number.",
        parameters: &[Parameter::filter("number", ParameterType::Text, "Only the account with this number.")],
        columns: Columns::of::<Account>(),
        order: &[column("number", Text)],
        rows: "SELECT * FROM accounts",
        names: Some(Names { aggregate_type: "bank.account", parameter: "number" }),
        ..Query::OF_TENANT
    },
    Query {
        name: "bank.movements",
        doc: "What came into an account and went out, in order.",
        parameters: &[Parameter::filter("account_id", ParameterType::Uuid, "The account.").required()],
        columns: Columns::of::<Movement>(),
        order: &[column("booked_at", ColumnType::Timestamp), column("id", Uuid)],
        rows: "SELECT * FROM movements",
        ..Query::OF_TENANT
    },
    Query {
        name: "bank.holders",
        doc: "How many accounts each holder has, and how much is in them.",
        columns: Columns::of_rollup::<Holder>(),
        order: &[column("holder", Text), column("id", Uuid)],
        rows: "SELECT * FROM holders",
        ..Query::OF_TENANT
    },
];
