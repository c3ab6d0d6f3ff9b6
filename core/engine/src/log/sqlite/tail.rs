//! Does the log end where it says that it ends? Asked before it is served: a log that lost its end would hand out
//! ordinals a second time.

use annals_model::engine_record::Claim;
use annals_model::envelope::Record;
use annals_model::ids::{ContextId, Partition};
use annals_model::position::{ClaimEpoch, ContextPartition, Offset};
use sqlx::SqliteConnection;

use super::failure::{Failure, damaged};
use super::heads::{Head, read_head};
use super::reader::stored;
use crate::log::RawBatch;

/// Checks the last append of every partition against its recorded end.
pub(super) async fn check_tails(
    connection: &mut SqliteConnection,
    contexts: &[(ContextId, u16)],
) -> Result<(), Failure> {
    for (context, count) in contexts {
        for partition in (0..*count).map(Partition) {
            let at = ContextPartition { context: *context, partition };
            let head = read_head(connection, at).await?;
            check_tail(connection, at, head).await?;
        }
    }
    Ok(())
}

async fn check_tail(connection: &mut SqliteConnection, at: ContextPartition, head: Head) -> Result<(), Failure> {
    let last = sqlx::query(
        "SELECT first_offset, next_offset, records FROM appends
         WHERE context = ? AND partition = ? ORDER BY next_offset DESC LIMIT 1",
    );
    let row = last.bind(at.context.number).bind(at.partition.0).fetch_optional(connection).await?;
    let last = row.as_ref().map(stored).transpose()?;
    let end = last.as_ref().map_or(Offset::START, |last| last.next);
    if end != head.next {
        return Err(damaged(format!("partition {at} ends at {end}; {} was written", head.next)));
    }
    let Some(last) = last else { return Ok(()) };
    let mut batch = RawBatch::default();
    last.read(at, Offset::START, &mut batch)
        .map_err(|damage| damaged(format!("{at}: record at offset {}: {}", damage.offset, damage.cause)))?;
    let Some((offset, bytes)) = batch.iter().next_back() else { return Ok(()) };
    let undecodable = |error| damaged(format!("{at}: record at offset {offset}: {error}"));
    let agrees = match Claim::decode(bytes).map_err(undecodable)? {
        Some(_) => head.claim_epoch == ClaimEpoch(offset.after().0),
        None => Record::decode(offset, bytes).map_err(undecodable)?.envelope.ordinal == head.ordinal,
    };
    if agrees { Ok(()) } else { Err(damaged(format!("partition {at}: its last record is not the recorded one"))) }
}
