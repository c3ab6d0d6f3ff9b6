//! What has happened, what is asked, what must come of it.

use std::num::NonZeroU32;

use annals_model::testing::given;
use bank::account::{Account, Command, Rejection};
use bank::events::bank::account::{Closed, Deposited, Event, Opened, Withdrawn};

fn opened() -> Event {
    Opened { number: "1001".into(), holder: "Ada".into() }.into()
}

fn deposited(amount_cents: i64) -> Event {
    Deposited { amount_cents }.into()
}

fn cents(amount: u32) -> NonZeroU32 {
    NonZeroU32::new(amount).unwrap()
}

#[test]
fn an_account_is_opened_with_its_number() {
    let open = |number: &str| Command::Open { number: number.into(), holder: "Ada".into() };
    given::<Account>([]).when(open("1001")).then([opened()]);
    given::<Account>([]).when(open(" ")).then_rejected(Rejection::NumberMissing);
}

#[test]
fn what_was_deposited_can_be_withdrawn_to_the_last_cent_and_no_further() {
    let withdraw = |amount| Command::Withdraw { amount_cents: cents(amount) };
    given::<Account>([opened(), deposited(500)]).when(withdraw(500)).then([Withdrawn { amount_cents: 500 }.into()]);
    given::<Account>([opened(), deposited(500)])
        .when(withdraw(501))
        .then_rejected(Rejection::Overdraft { balance_cents: 500 });
}

#[test]
fn only_an_empty_account_can_be_closed_and_a_closed_one_takes_nothing() {
    given::<Account>([opened()]).when(Command::Close {}).then([Closed {}.into()]);
    given::<Account>([opened(), deposited(1)])
        .when(Command::Close {})
        .then_rejected(Rejection::NotEmpty { balance_cents: 1 });
    given::<Account>([opened(), Closed {}.into()])
        .when(Command::Deposit { amount_cents: cents(1) })
        .then_rejected(Rejection::Closed);
}
