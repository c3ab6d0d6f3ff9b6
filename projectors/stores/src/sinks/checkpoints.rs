//! A generation's own few facts and its checkpoints, as every database stores them.

use annals_model::ids::LogId;
use annals_model::position::{Checkpoint, ClaimEpoch, Offset, Ordinal};
use annals_model::time::Timestamp;
use sqlx::{ColumnIndex, Decode, Row, Type};

/// The keys of `annals_meta`.
pub(super) mod fact {
    /// The log whose positions the checkpoints are.
    pub(in super::super) const LOG_ID: &str = "log_id";
    /// Name of the read model.
    pub(in super::super) const READ_MODEL: &str = "read_model";
    /// Its version.
    pub(in super::super) const VERSION: &str = "version";
    /// Number of the generation.
    pub(in super::super) const GENERATION: &str = "generation";
    /// When its build began: one that was begun anew has the number of the one before it.
    #[cfg(feature = "postgres")]
    pub(in super::super) const STARTED_AT: &str = "started_at";
    /// Set when the bulk load has ended, or none was needed.
    pub(in super::super) const LOADED: &str = "loaded";
}

/// The columns of `annals_checkpoints`, in the order in which [`checkpoint`] takes them.
macro_rules! columns {
    () => {
        "context, partition, log_offset, ordinal, claim_epoch, emitted_at"
    };
}
pub(super) use columns;

/// The log that a fact names.
pub(super) fn log_id(fact: Option<String>) -> Result<LogId, sqlx::Error> {
    let Some(text) = fact else {
        return Err(sqlx::Error::Decode("it does not say which log it was built from".into()));
    };
    text.parse().map_err(|_| sqlx::Error::Decode(format!("`{text}` is no log id").into()))
}

/// The checkpoint that a row holds, behind the partition that it is of.
pub(super) fn checkpoint<'r, R: Row>(row: &'r R) -> Result<Checkpoint, sqlx::Error>
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let unsigned = |index: usize| row.try_get::<i64, _>(index).map(i64::cast_unsigned);
    Ok(Checkpoint {
        offset: Offset(unsigned(2)?),
        ordinal: Ordinal(unsigned(3)?),
        claim_epoch: ClaimEpoch(unsigned(4)?),
        emitted_at: Timestamp(row.try_get(5)?),
    })
}
