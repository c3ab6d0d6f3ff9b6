//! How a query ends when it does not succeed.

use annals_model::query::QuestionError;

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The request is no question.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// No read model has a query of this name: take one from the catalogue.
    #[error("there is no query `{name}`; there are {}", known.join(", "))]
    UnknownQuery {
        /// What was asked.
        name: String,
        /// What may be asked.
        known: Vec<&'static str>,
    },
    /// The version that is served now does not have the query, another one does: ask again after its promotion.
    #[error("query `{name}` is not in version {version} of read model {read_model}, which is served now")]
    NotInVersion {
        /// The query.
        name: String,
        /// Its read model.
        read_model: String,
        /// The version that is served.
        version: u32,
    },
    /// The query stopped at the bound of its work without a result: ask about something smaller.
    #[error("query `{query}` stopped before it was finished: the question takes more steps than one query may")]
    TooMuchWork {
        /// The query.
        query: &'static str,
    },
    /// As many of the tenant's questions as it may have are being answered, or of this costly kind: ask again later, and
    /// fewer at once.
    #[error("query `{query}` did not get its turn in time: too many questions are being answered; ask fewer at once")]
    Busy {
        /// The query.
        query: &'static str,
    },
    /// The read model's store does not answer now: try again.
    #[error("read model {read_model} cannot be read now: {cause}")]
    Unavailable {
        /// The read model.
        read_model: &'static str,
        /// What the store said.
        cause: String,
    },
    /// What is stored is not what the read model's definition says: an operator must rebuild it.
    #[error("read model {read_model} is damaged: {cause}; rebuild it")]
    Damaged {
        /// The read model.
        read_model: &'static str,
        /// What does not fit.
        cause: String,
    },
}
