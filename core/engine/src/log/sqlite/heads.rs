//! Where each partition ends, kept in the transaction that moves the end: what tells a shortened log from a short one,
//! and a zombie from the owner.

use annals_model::ids::Partition;
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, Ordinal};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::failure::{Failure, damaged};

/// The end of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// Where the next append starts.
    pub(super) next: Offset,
    /// The newest claim.
    pub(super) claim_epoch: ClaimEpoch,
    /// Of the last record.
    pub(super) ordinal: Ordinal,
}

impl Head {
    pub(super) fn checksum(&self, context: u8, partition: u16) -> u32 {
        let mut bytes = [0; 27];
        bytes[0] = context;
        bytes[1..3].copy_from_slice(&partition.to_le_bytes());
        bytes[3..11].copy_from_slice(&self.next.0.to_le_bytes());
        bytes[11..19].copy_from_slice(&self.claim_epoch.0.to_le_bytes());
        bytes[19..].copy_from_slice(&self.ordinal.0.to_le_bytes());
        crc32c::crc32c(&bytes)
    }

    /// Columns context, partition, next_offset, claim_epoch, ordinal, checksum.
    fn from_row(row: &SqliteRow) -> Result<((u8, Partition), Self), Failure> {
        let key = key(row)?;
        Self::at(key, row).map(|head| (key, head))
    }

    fn at((context, partition): (u8, Partition), row: &SqliteRow) -> Result<Self, Failure> {
        // A negative number is damage.
        let number = |index| row.try_get::<u64, _>(index);
        let head = Self { next: Offset(number(2)?), claim_epoch: ClaimEpoch(number(3)?), ordinal: Ordinal(number(4)?) };
        if i64::from(head.checksum(context, partition.0)) != row.try_get::<i64, _>(5)? {
            return Err(damaged(format!("checksum of the end of partition {context}/{partition} does not match")));
        }
        Ok(head)
    }
}

/// Columns context, partition.
fn key(row: &SqliteRow) -> Result<(u8, Partition), Failure> {
    Ok((row.try_get(0)?, Partition(row.try_get(1)?)))
}

/// The end of one partition, as committed last.
pub(super) async fn read_head(connection: &mut SqliteConnection, at: ContextPartition) -> Result<Head, Failure> {
    let row = sqlx::query(
        "SELECT context, partition, next_offset, claim_epoch, ordinal, checksum FROM heads
         WHERE context = ? AND partition = ?",
    )
    .bind(at.context.number)
    .bind(at.partition.0)
    .fetch_optional(connection)
    .await?;
    let row = row.ok_or_else(|| damaged(format!("the end of partition {at} is missing")))?;
    Head::from_row(&row).map(|(_, head)| head)
}

/// The ends of all partitions of all contexts.
pub(super) async fn read_heads(connection: &mut SqliteConnection) -> Result<Vec<((u8, Partition), Head)>, Failure> {
    let rows = sqlx::query("SELECT context, partition, next_offset, claim_epoch, ordinal, checksum FROM heads");
    rows.fetch_all(connection).await?.iter().map(Head::from_row).collect()
}

/// The ends that were asked for and found, each with its own damage: one must not stand in the way of the others.
pub(super) type FoundHeads = Vec<((u8, Partition), Result<Head, Failure>)>;

/// Begins the write transaction and reads the ends of `partitions` in it, in one trip to the connection's thread.
pub(super) async fn begin_with_heads(
    connection: &mut SqliteConnection,
    partitions: &[ContextPartition],
) -> Result<FoundHeads, Failure> {
    if partitions.is_empty() {
        sqlx::query("BEGIN IMMEDIATE").execute(connection).await?;
        return Ok(Vec::new());
    }
    let places = placeholders(partitions.len(), "(?,?)");
    let sql = format!(
        "BEGIN IMMEDIATE; SELECT context, partition, next_offset, claim_epoch, ordinal, checksum FROM heads
         WHERE (context, partition) IN (VALUES {places})"
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for at in partitions {
        query = query.bind(at.context.number).bind(at.partition.0);
    }
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| key(row).map(|key| (key, Head::at(key, row)))).collect()
}

/// `one` repeated, with commas.
pub(super) fn placeholders(count: usize, one: &str) -> String {
    let mut all = String::with_capacity(count * (one.len() + 1));
    for index in 0..count {
        if index > 0 {
            all.push(',');
        }
        all.push_str(one);
    }
    all
}
