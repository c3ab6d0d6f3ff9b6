//! The schemas that the log describes itself with, as the registry's surface tells them.
//!
//! Anybody may ask, and the log is asked for all of them at once, one question at a time: so one answer is told to everybody
//! for a moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_engine::log::EventLog;
use annals_engine::published::{PublishedSchema, published};
use annals_model::event::SchemaCatalogue;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::limits;

/// What was read from the log last.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The build's own.
    pub(crate) built_in: SchemaCatalogue,
    known: Mutex<Option<(Instant, Arc<Subjects>)>>,
    /// Held by whoever asks the log.
    asking: tokio::sync::Mutex<()>,
}

/// Every schema that this build or the log knows, the versions of a subject in order.
#[derive(Debug)]
pub(crate) struct Subjects {
    /// By name.
    pub(crate) subjects: BTreeMap<String, Vec<Registered>>,
}

/// One version of a subject.
#[derive(Debug)]
pub(crate) struct Registered {
    /// As records carry it.
    pub(crate) id: u32,
    /// Avro JSON.
    pub(crate) schema: String,
}

impl Registry {
    pub(crate) fn new(built_in: SchemaCatalogue) -> Self {
        Self { built_in, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// What the log says now, or said a moment ago. What it said before is good for as long as somebody asks it anew: a
    /// schema is never taken back.
    pub(crate) async fn subjects(&self, log: &dyn EventLog) -> Result<Arc<Subjects>, String> {
        let known = match &*self.known() {
            Some((until, subjects)) if Instant::now() < *until => return Ok(Arc::clone(subjects)),
            known => known.as_ref().map(|(_, subjects)| Arc::clone(subjects)),
        };
        let asking = match (self.asking.try_lock(), known) {
            (Ok(asking), _) => asking,
            (Err(_), Some(known)) => return Ok(known),
            (Err(_), None) => self.asking.lock().await,
        };
        if let Some((until, subjects)) = &*self.known()
            && Instant::now() < *until
        {
            return Ok(Arc::clone(subjects));
        }
        let told = timeout(Duration::from_millis(limits::REGISTRY_READ_MS), published(log)).await;
        let described = match told {
            Ok(described) => described.map_err(|error| error.to_string())?,
            Err(_) => return Err("the log does not answer now; ask again".to_owned()),
        };
        let subjects =
            Arc::new(Subjects::of(&self.built_in, described.into_iter().map(|(id, schema)| (id.0, schema)).collect()));
        let until = Instant::now() + Duration::from_millis(limits::REGISTRY_CACHED_MS);
        *self.known() = Some((until, Arc::clone(&subjects)));
        drop(asking);
        Ok(subjects)
    }

    fn known(&self) -> MutexGuard<'_, Option<(Instant, Arc<Subjects>)>> {
        // It is replaced as a whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subjects {
    /// The log knows more than this build where a newer one works beside it.
    fn of(built_in: &SchemaCatalogue, mut all: BTreeMap<u32, PublishedSchema>) -> Self {
        for known in built_in.iter() {
            all.entry(known.id.0).or_insert_with(|| PublishedSchema {
                event_type: known.event_type.to_owned(),
                version: known.version,
                revision: known.revision,
                schema: known.writer_schema.to_owned(),
            });
        }
        let mut ordered: Vec<_> = all.into_iter().collect();
        ordered.sort_by_key(|(_, schema)| (schema.version, schema.revision));
        let mut subjects: BTreeMap<String, Vec<Registered>> = BTreeMap::new();
        for (id, schema) in ordered {
            let subject = subject_of(&schema);
            subjects.entry(subject).or_default().push(Registered { id, schema: schema.schema });
        }
        Self { subjects }
    }
}

fn subject_of(schema: &PublishedSchema) -> String {
    let parsed: Value = serde_json::from_str(&schema.schema).unwrap_or_default();
    let name = match (parsed["namespace"].as_str(), parsed["name"].as_str()) {
        (Some(namespace), Some(name)) => format!("{namespace}.{name}"),
        // The log's own entries are checked at the start; a newer build's may be of any form.
        _ => schema.event_type.clone(),
    };
    if schema.version > 1 { format!("{name}.v{}", schema.version) } else { name }
}
