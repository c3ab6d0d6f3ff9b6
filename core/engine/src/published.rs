//! The schemas that a log describes itself with: in its `meta` before the first record that uses them.
//!
//! The same entries tell a build that is older than the log: a schema there that it does not know may have been used.

use annals_model::envelope::SchemaId;
use annals_model::event::SchemaCatalogue;
use serde::{Deserialize, Serialize};

use crate::log::{EventLog, MetaError, ReadError};

const PREFIX: &str = "schema/";

/// One schema as the log describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedSchema {
    /// Wire name of the event, or of the engine record.
    pub event_type: String,
    /// Major version.
    pub version: i32,
    /// Revision within the major version.
    pub revision: i32,
    /// Complete writer schema, Avro JSON.
    pub schema: String,
}

/// Why a build cannot work with a log.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A newer build wrote, or may have written, events that this one cannot read: upgrade it.
    #[error(
        "the log may hold {event_type} version {version}.{revision} (schema {id}), which this build does not know; upgrade it"
    )]
    Unknown {
        /// The schema's id.
        id: u32,
        /// Wire name of the event.
        event_type: String,
        /// Major version.
        version: i32,
        /// Revision within the major version.
        revision: i32,
    },
    /// The log's description of a schema is damaged, or differs from this build's: restore the log from a backup.
    #[error("the log describes schema {id} otherwise than this build does; restore the log's meta from a backup")]
    Differs {
        /// The schema's id.
        id: String,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log cannot be written.
    #[error(transparent)]
    Write(#[from] MetaError),
}

/// Refuses a log that this build is too old for; gives the ids that it describes.
pub async fn check(log: &dyn EventLog, catalogue: &SchemaCatalogue) -> Result<Vec<SchemaId>, SchemaError> {
    let mut described = Vec::new();
    for (key, value) in log.meta_list(PREFIX).await? {
        let differs = || SchemaError::Differs { id: key[PREFIX.len()..].to_owned() };
        let id: u32 = key[PREFIX.len()..].parse().map_err(|_| differs())?;
        let published: PublishedSchema = serde_json::from_slice(&value).map_err(|_| differs())?;
        match catalogue.get(SchemaId(id)) {
            Some(known) if known.writer_schema == published.schema => described.push(known.id),
            Some(_) => return Err(differs()),
            None => {
                let PublishedSchema { event_type, version, revision, .. } = published;
                return Err(SchemaError::Unknown { id, event_type, version, revision });
            }
        }
    }
    Ok(described)
}

/// All that the log describes, whether this build knows it or not.
pub async fn published(log: &dyn EventLog) -> Result<Vec<(SchemaId, PublishedSchema)>, SchemaError> {
    let parse = |(key, value): (String, Vec<u8>)| {
        let id = key[PREFIX.len()..].parse().ok().map(SchemaId);
        let schema = serde_json::from_slice(&value).ok();
        id.zip(schema).ok_or_else(|| SchemaError::Differs { id: key[PREFIX.len()..].to_owned() })
    };
    log.meta_list(PREFIX).await?.into_iter().map(parse).collect()
}

/// Checks, then adds this build's schemas that the log does not describe yet. Before the first claim.
pub async fn publish(log: &dyn EventLog, catalogue: &SchemaCatalogue) -> Result<(), SchemaError> {
    let described = check(log, catalogue).await?;
    for schema in catalogue.iter().filter(|schema| !described.contains(&schema.id)) {
        let published = PublishedSchema {
            event_type: schema.event_type.to_owned(),
            version: schema.version,
            revision: schema.revision,
            schema: schema.writer_schema.to_owned(),
        };
        let value = serde_json::to_vec(&published).map_err(|error| MetaError(error.to_string()))?;
        log.meta_put(&format!("{PREFIX}{}", schema.id.0), &value).await?;
    }
    Ok(())
}
