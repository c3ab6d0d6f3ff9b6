//! One transaction: who may write, what, and where; and the answers once it ended.

use std::collections::BTreeMap;

use annals_model::ids::Partition;
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, RecordOffset};
use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::sync::oneshot;

use super::{Append, Appended, Claim, ClaimedAt, PutMeta, Request};
use crate::log::ReadError;
use crate::log::admission::follows;
use crate::log::claim_record::encode_claim;
use crate::log::holes::Holes;
use crate::log::sqlite::block::{Placed, Unplaced};
use crate::log::sqlite::failure::Failure;
use crate::log::sqlite::file::meta_checksum;
use crate::log::sqlite::heads::{Head, begin_with_heads, placeholders};

/// Everything is written, nothing is committed.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) answers: Answers,
    /// Where the partitions end after the commit.
    pub(super) moved: BTreeMap<(u8, Partition), Head>,
    /// Bytes of the rows.
    pub(super) bytes: u64,
    /// There is something to commit.
    pub(super) writes: bool,
}

/// Who waits for this transaction.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<Answer>);

/// One caller, and what it is told if the commit succeeds.
#[derive(Debug)]
enum Answer {
    Append(oneshot::Sender<Appended>, Vec<RecordOffset>),
    Claim(oneshot::Sender<Result<ClaimedAt, String>>, ClaimEpoch, Offset),
    PutMeta(oneshot::Sender<Result<(), String>>),
    /// Left out. Told with the others, because the newer claim may be one of this very transaction.
    Fenced(oneshot::Sender<Appended>),
}

impl Answers {
    /// Of requests that never came to a transaction.
    pub(super) fn of(requests: Vec<Request>) -> Self {
        let answers = requests.into_iter().filter_map(|request| match request {
            Request::Append(append) => Some(Answer::Append(append.reply, Vec::new())),
            Request::Claim(claim) => Some(Answer::Claim(claim.reply, ClaimEpoch::ZERO, Offset::START)),
            Request::PutMeta(put) => Some(Answer::PutMeta(put.reply)),
            Request::Close(_) => None,
        });
        Self(answers.collect())
    }

    /// Everything is durable.
    pub(super) fn succeed(self) {
        // Here and below: a caller that dropped its future is not told, and counts its append as unknown.
        for answer in self.0 {
            match answer {
                Answer::Append(reply, positions) => drop(reply.send(Appended::Durable(positions))),
                Answer::Claim(reply, claim_epoch, barrier) => drop(reply.send(Ok(Ok((claim_epoch, barrier))))),
                Answer::PutMeta(reply) => drop(reply.send(Ok(()))),
                Answer::Fenced(reply) => drop(reply.send(Appended::Fenced)),
            }
        }
    }

    /// Nothing was written; all may try again.
    pub(super) fn abort(self, cause: &str) {
        self.fail(cause, Appended::Aborted);
    }

    /// Nobody knows.
    pub(super) fn leave_unknown(self, cause: &str) {
        self.fail(cause, Appended::Unknown);
    }

    fn fail(self, cause: &str, of_append: impl Fn(String) -> Appended) {
        for answer in self.0 {
            match answer {
                Answer::Append(reply, _) | Answer::Fenced(reply) => drop(reply.send(of_append(cause.into()))),
                Answer::Claim(reply, ..) => drop(reply.send(Err(cause.into()))),
                Answer::PutMeta(reply) => drop(reply.send(Err(cause.into()))),
            }
        }
    }
}

/// Begins the transaction, leaves out whoever is fenced, and writes the rest.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    requests: Vec<Request>,
    holes: &mut Holes,
) -> Result<Prepared, (Answers, Failure)> {
    let heads = match begin_with_heads(connection, &partitions(&requests)).await {
        Ok(heads) => heads,
        Err(failure) => return Err((Answers::of(requests), failure)),
    };
    let mut plan = Plan { heads: heads.into_iter().collect(), ..Plan::default() };
    requests.into_iter().for_each(|request| plan.add(request, holes));
    let writes = !plan.rows.is_empty() || !plan.meta.is_empty();
    let bytes = plan.rows.iter().map(|row| row.placed.block.len() as u64).sum();
    match plan.write(connection).await {
        Ok(()) => Ok(Prepared { answers: plan.answers, moved: plan.moved, bytes, writes }),
        Err(failure) => Err((plan.answers, failure)),
    }
}

/// The partitions that a group asks about, each once.
fn partitions(requests: &[Request]) -> Vec<ContextPartition> {
    let mut partitions: Vec<_> = requests
        .iter()
        .filter_map(|request| match request {
            Request::Append(append) => Some(append.at),
            Request::Claim(claim) => Some(claim.at),
            Request::PutMeta(_) | Request::Close(_) => None,
        })
        .collect();
    partitions.sort_unstable();
    partitions.dedup();
    partitions
}

/// What the statements of one transaction are made of.
#[derive(Debug, Default)]
struct Plan {
    answers: Answers,
    heads: BTreeMap<(u8, Partition), Result<Head, Failure>>,
    moved: BTreeMap<(u8, Partition), Head>,
    rows: Vec<Row>,
    meta: Vec<(String, Vec<u8>)>,
}

#[derive(Debug)]
struct Row {
    at: ContextPartition,
    first: Offset,
    placed: Placed,
}

impl Plan {
    fn add(&mut self, request: Request, holes: &mut Holes) {
        match request {
            Request::Append(append) => self.append(append, holes),
            Request::Claim(claim) => self.claim(claim, holes),
            Request::PutMeta(PutMeta { key, value, reply }) => {
                self.meta.push((key, value));
                self.answers.0.push(Answer::PutMeta(reply));
            }
            Request::Close(_) => {}
        }
    }

    /// Where a partition ends; its damage is the trouble of those who asked for it, and of nobody else.
    fn head(&self, at: ContextPartition) -> Result<Head, ReadError> {
        let unread = |cause: String| {
            tracing::error!(%at, cause, "the end of a partition is damaged, nothing is written to it");
            ReadError::Corrupt { at, offset: RecordOffset(0), cause }
        };
        match self.heads.get(&(at.context.number, at.partition)) {
            Some(Ok(head)) => Ok(*head),
            Some(Err(failure)) => Err(unread(failure.to_string())),
            None => Err(unread(format!("the end of partition {at} is missing"))),
        }
    }

    fn append(&mut self, append: Append, holes: &mut Holes) {
        let Append { at, claim_epoch, block, admitted, reply } = append;
        let head = match self.head(at) {
            Ok(head) => head,
            // Nobody can say whether this owner is still the one: the claim that it tries next tells it why not.
            Err(error) => return drop(reply.send(Appended::Unknown(error.to_string()))),
        };
        if head.claim_epoch != claim_epoch {
            self.answers.0.push(Answer::Fenced(reply));
            return;
        }
        if let Err(cause) = follows(head.ordinal, admitted) {
            tracing::error!(%at, cause, "append refused");
            return drop(reply.send(Appended::Aborted(cause)));
        }
        let placed = block.place(at, head.next, holes);
        self.answers.0.push(Answer::Append(reply, placed.positions.clone()));
        self.moved_to(at, Head { next: placed.next, ordinal: admitted.last, ..head });
        self.rows.push(Row { at, first: head.next, placed });
    }

    fn claim(&mut self, claim: Claim, holes: &mut Holes) {
        let Claim { at, owner, reply } = claim;
        let head = match self.head(at) {
            Ok(head) => head,
            Err(error) => return drop(reply.send(Ok(Err(error)))),
        };
        let placed = Unplaced::single(&encode_claim(&owner)).place(at, head.next, holes);
        // One record was placed, so there is one position.
        let claim_epoch = placed.positions.first().map_or(head.claim_epoch, |at| ClaimEpoch(at.after().0));
        self.answers.0.push(Answer::Claim(reply, claim_epoch, placed.next));
        self.moved_to(at, Head { next: placed.next, claim_epoch, ..head });
        self.rows.push(Row { at, first: head.next, placed });
    }

    /// Later requests of this transaction see it.
    fn moved_to(&mut self, at: ContextPartition, head: Head) {
        let key = (at.context.number, at.partition);
        self.heads.insert(key, Ok(head));
        self.moved.insert(key, head);
    }

    async fn write(&mut self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        if !self.rows.is_empty() {
            self.write_rows(connection).await?;
        }
        for (key, value) in self.meta.drain(..) {
            let checksum = meta_checksum(&key, &value);
            let put = "INSERT INTO meta (key, value, checksum) VALUES (?, ?, ?)
                ON CONFLICT (key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum";
            sqlx::query(put).bind(key).bind(value).bind(checksum).execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// All rows and all ends in one trip to the connection's thread.
    async fn write_rows(&mut self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        let sql = format!(
            "INSERT INTO appends (context, partition, first_offset, next_offset, records) VALUES {};
             INSERT INTO heads (context, partition, next_offset, claim_epoch, ordinal, checksum) VALUES {}
             ON CONFLICT (context, partition) DO UPDATE SET next_offset = excluded.next_offset,
             claim_epoch = excluded.claim_epoch, ordinal = excluded.ordinal, checksum = excluded.checksum",
            placeholders(self.rows.len(), "(?,?,?,?,?)"),
            placeholders(self.moved.len(), "(?,?,?,?,?,?)"),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for Row { at, first, placed } in self.rows.drain(..) {
            query = query
                .bind(at.context.number)
                .bind(at.partition.0)
                .bind(first.0.cast_signed())
                .bind(placed.next.0.cast_signed())
                .bind(placed.block);
        }
        for ((context, partition), head) in &self.moved {
            query = query
                .bind(*context)
                .bind(partition.0)
                .bind(head.next.0.cast_signed())
                .bind(head.claim_epoch.0.cast_signed())
                .bind(head.ordinal.0.cast_signed())
                .bind(head.checksum(*context, partition.0));
        }
        query.execute(connection).await?;
        Ok(())
    }
}
