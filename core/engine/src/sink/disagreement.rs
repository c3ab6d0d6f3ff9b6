//! A checkpoint and the log disagree: which of the two is at fault?

use annals_model::envelope::Record;
use annals_model::position::{Checkpoint, ContextPartition, Offset, Ordinal, RecordOffset};
use annals_model::time::Timestamp;

use crate::limits;
use crate::log::checked::continuity::{Continuity, Step};
use crate::log::{EventLog, RawBatch, ReadError, is_claim};

/// Why a checkpoint is false although the log is sound; nothing where the log says the same, or where it is the log that
/// is damaged, or may have lost what the checkpoint stands for.
///
/// A checkpoint names a place, and the number and the time of the last event before it. An owner gives every command a
/// later time than all before it, and does so after a loss as well: a log that has an event of that very time has not lost
/// the event that was meant, wherever the checkpoint puts it. Restoring such a log would lose events for nothing.
pub async fn false_checkpoint(
    log: &dyn EventLog,
    at: ContextPartition,
    checkpoint: Checkpoint,
) -> Result<Option<String>, ReadError> {
    if checkpoint == Checkpoint::default() {
        return Ok(None);
    }
    let Checkpoint { offset, ordinal, claim_epoch, emitted_at } = checkpoint;
    // Every event and every claim takes an offset.
    if ordinal.0 > offset.0 || claim_epoch.0 > offset.0 {
        let place =
            format!("its checkpoint at {at} puts event {ordinal} and claim {claim_epoch} before offset {offset}");
        return Ok(Some(format!("{place}, where so many do not fit: {WHOLE}")));
    }
    if (ordinal == Ordinal::ZERO) != (emitted_at == Timestamp::default()) {
        let events = format!("its checkpoint at {at} puts event {ordinal} of {emitted_at} before offset {offset}");
        return Ok(Some(format!("{events}, and every event has its time: {WHOLE}")));
    }
    let end = log.end(at).await?;
    if offset > end {
        let has_event = match of_moment(log, at, end, emitted_at).await? {
            Some(found) => Some(found),
            None => Some(log.last_ordinal(at).await?).filter(|last| ordinal <= *last && claim_epoch.0 <= end.0),
        };
        return Ok(has_event.map(|found| {
            format!(
                "its checkpoint at {at} puts event {ordinal} of {emitted_at} before offset {offset}, but the log, which \
                 ends at {end}, has event {found} and has lost nothing of it: {WHOLE}"
            )
        }));
    }
    let Some(found) = standing(log, at, offset).await? else { return Ok(None) };
    if found == Some(checkpoint) {
        return Ok(None);
    }
    let there = found.map_or_else(
        || "a command's events go on".to_owned(),
        |found| format!("the log has event {} of {} and claim {}", found.ordinal, found.emitted_at, found.claim_epoch),
    );
    let why = match of_moment(log, at, end, emitted_at).await? {
        Some(_) => WHOLE,
        None => "the checkpoint is false, or the log was replaced by an older copy and has grown since",
    };
    Ok(Some(format!(
        "its checkpoint at {at} puts event {ordinal} of {emitted_at} and claim {claim_epoch} before offset {offset}, where {there}: {why}"
    )))
}

const WHOLE: &str = "the log is whole, the checkpoint is false";

/// Where a reader stands that has come to `offset`; the inner nothing inside a command's events, where none stands. Nothing
/// at all where the log cannot tell: it is damaged there.
///
/// Read back from, twice as far each time that what is found does not hold together: a reader that begins in the middle
/// does not know which claim is the newest.
async fn standing(
    log: &dyn EventLog,
    at: ContextPartition,
    offset: Offset,
) -> Result<Option<Option<Checkpoint>>, ReadError> {
    let mut back = limits::EXTENT_OFFSETS_MIN;
    loop {
        let from = Offset(offset.0.saturating_sub(back));
        match standing_from(log, at, from, offset).await {
            Ok(Some(found)) => return Ok(Some(found)),
            Err(error @ ReadError::Unavailable(_)) => return Err(error),
            Err(_) | Ok(None) if from == Offset::START => return Ok(None),
            Err(_) | Ok(None) => back = back.saturating_mul(2),
        }
    }
}

/// The same, by what lies from `from` on and by the first record behind `offset`; nothing if too little lies there.
async fn standing_from(
    log: &dyn EventLog,
    at: ContextPartition,
    from: Offset,
    offset: Offset,
) -> Result<Option<Option<Checkpoint>>, ReadError> {
    let mut reading = (from == Offset::START).then(|| Continuity::new(at, Checkpoint::default()));
    let mut reader = log.lookup(at, from).await?;
    let mut batch = RawBatch::default();
    let mut reached = None;
    loop {
        reader.next(&mut batch).await?;
        for (record, bytes) in batch.iter() {
            let reading = match &mut reading {
                Some(reading) => reading,
                None if record.at() >= offset => return Ok(None),
                None => match begun(at, record, bytes) {
                    Some(begun) => reading.insert(begun),
                    None => continue,
                },
            };
            if record.at() >= offset && reached.is_none() {
                reached = Some(reading.is_between_commits().then(|| reading.checkpoint(offset)));
            }
            let step = reading.step(record, bytes)?;
            // What comes next continues what was found.
            if reached.is_some() && matches!(step, Step::Record(_)) {
                return Ok(reached);
            }
        }
        if batch.is_empty() {
            if reached.is_none() && reader.position() >= offset {
                reached = reading.map(|reading| reading.is_between_commits().then(|| reading.checkpoint(offset)));
            }
            return Ok(reached);
        }
    }
}

/// What is known before the first event of a command.
fn begun(at: ContextPartition, offset: RecordOffset, bytes: &[u8]) -> Option<Continuity> {
    if is_claim(bytes) {
        return None;
    }
    let envelope = Record::decode(offset, bytes).ok()?.envelope;
    let ordinal = Ordinal(envelope.ordinal.0.checked_sub(1)?);
    let (claim_epoch, emitted_at) = (envelope.claim_epoch, envelope.emitted_at);
    let before = Checkpoint { offset: offset.at(), ordinal, claim_epoch, emitted_at };
    (envelope.commit_index.0 == 0).then(|| Continuity::new(at, before))
}

/// The last event of this very time, by its number; nothing where the log has none, or is damaged before it is found.
async fn of_moment(
    log: &dyn EventLog,
    at: ContextPartition,
    end: Offset,
    moment: Timestamp,
) -> Result<Option<Ordinal>, ReadError> {
    let mut back = limits::EXTENT_OFFSETS_MIN;
    loop {
        let from = Offset(end.0.saturating_sub(back));
        let looked = match of_moment_from(log, at, from, end, moment).await {
            Err(error @ ReadError::Unavailable(_)) => return Err(error),
            Err(_) => return Ok(None),
            Ok(looked) => looked,
        };
        match looked {
            Looked::Has(ordinal) => return Ok(Some(ordinal)),
            Looked::HasNot => return Ok(None),
            Looked::Later if from == Offset::START => return Ok(None),
            Looked::Later => back = back.saturating_mul(2),
        }
    }
}

/// What a look from an offset on has seen of a moment.
enum Looked {
    Has(Ordinal),
    /// Events before it and behind it only.
    HasNot,
    /// Later events only.
    Later,
}

async fn of_moment_from(
    log: &dyn EventLog,
    at: ContextPartition,
    from: Offset,
    end: Offset,
    moment: Timestamp,
) -> Result<Looked, ReadError> {
    let mut reader = log.lookup(at, from).await?;
    let (mut batch, mut looked) = (RawBatch::default(), Looked::Later);
    while reader.position() < end {
        reader.next(&mut batch).await?;
        if batch.is_empty() {
            break;
        }
        for (offset, bytes) in batch.iter().filter(|(_, bytes)| !is_claim(bytes)) {
            let corrupt =
                |error: annals_model::avro::DecodeError| ReadError::Corrupt { at, offset, cause: error.to_string() };
            let envelope = Record::decode(offset, bytes).map_err(corrupt)?.envelope;
            match envelope.emitted_at.cmp(&moment) {
                std::cmp::Ordering::Less => looked = Looked::HasNot,
                std::cmp::Ordering::Equal => looked = Looked::Has(envelope.ordinal),
                std::cmp::Ordering::Greater => return Ok(looked),
            }
        }
    }
    Ok(looked)
}
