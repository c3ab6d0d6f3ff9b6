//! Which events made a row? Looked up by reading the log once more, only when rows diverge.

use annals_model::position::Checkpoint;
use annals_model::projection::{ReadModel, TableKind};

use super::{Divergence, TracedEvent};
use crate::limits;
use crate::log::EventLog;
use crate::log::checked::CheckedReader;
use crate::rebuild::control::Control;
use crate::rebuild::fold::FoldError;
use crate::sink::Checkpoints;

/// Adds to each diverging row the events that touched it, up to the checkpoint that was compared.
pub(super) async fn add_events(
    log: &dyn EventLog,
    read_model: &ReadModel,
    checkpoints: &Checkpoints,
    rows: &mut [Divergence],
    control: &Control,
) -> Result<(), FoldError> {
    let table_of = |name: &str| {
        read_model.tables().iter().find_map(|shape| match shape.kind {
            TableKind::Rows(index) if shape.name == name => Some(index),
            TableKind::Rows(_) | TableKind::Rollup(_) => None,
        })
    };
    let mut wanted: Vec<(usize, &mut Divergence)> =
        rows.iter_mut().filter_map(|row| table_of(row.table).map(|table| (table, row))).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut keys = read_model.new_key_sets();
    for (at, checkpoint) in checkpoints.iter() {
        let mut reader = CheckedReader::open(log, at, Checkpoint::default()).await?;
        while reader.checkpoint().offset < checkpoint.offset {
            let Some(batch) = reader.next().await? else { break };
            for record in batch.records.iter().take_while(|record| record.offset.at() < checkpoint.offset) {
                keys.clear();
                read_model.route(record, &mut keys).map_err(|failure| FoldError::Apply { at, failure })?;
                for (table, row) in &mut wanted {
                    if keys.contains(*table, &row.key) && row.events.len() < limits::VERIFY_EVENTS_MAX {
                        row.events.push(TracedEvent {
                            at,
                            offset: record.offset,
                            event_id: record.envelope.event_id,
                            event_type: record.envelope.event_type.to_owned(),
                        });
                    }
                }
            }
            if control.is_cancelled() {
                return Err(FoldError::Cancelled);
            }
        }
    }
    Ok(())
}
