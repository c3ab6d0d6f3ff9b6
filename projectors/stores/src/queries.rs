//! Who answers a question about rows? Each answer is confined to its asker's.
//!
//! A query is a SELECT over the tables of its read model, and cannot name a table itself: before it runs, every table
//! name is covered by the rows of one tenant and one workspace (see `statement.rs`). There is no predicate to forget.
//! Pages follow a total order by keyset, so that no row comes twice and none that stays is left out, whatever is
//! written in between. An answer and the position that it stands for are read in one transaction.

mod answer;
mod bound;
mod error;
mod execution;
#[cfg(feature = "postgres")]
mod postgres;
mod shares;
mod sqlite;
mod statement;
mod tokens;

pub use self::answer::{Answer, AnswerRow, Page};
pub use self::error::QueryError;
pub use self::execution::{LiveGeneration, Queries};

#[cfg(test)]
mod tests;
