//! Which released files there are: folders are contexts and aggregates, nothing is registered anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::schema::{Schema, parse};

/// Everything that was released, in a fixed order.
pub(crate) struct SchemaSet {
    /// Context → aggregate → events.
    pub(crate) aggregates: Vec<Aggregate>,
    /// Records of the engine.
    pub(crate) engine: Vec<EventFamily>,
}

pub(crate) struct Aggregate {
    pub(crate) context: String,
    pub(crate) name: String,
    pub(crate) events: Vec<EventFamily>,
}

/// All released revisions of one event, oldest first.
pub(crate) struct EventFamily {
    pub(crate) schemas: Vec<Schema>,
}

impl EventFamily {
    pub(crate) fn newest(&self) -> &Schema {
        // Families are made of at least one schema.
        &self.schemas[self.schemas.len() - 1]
    }

    /// The newest revision of a major version.
    pub(crate) fn newest_of(&self, major: u16) -> &Schema {
        self.schemas.iter().rev().find(|schema| schema.major == major).unwrap_or_else(|| self.newest())
    }
}

impl SchemaSet {
    pub(crate) fn contexts(&self) -> Vec<&str> {
        let mut contexts: Vec<_> = self.aggregates.iter().map(|aggregate| aggregate.context.as_str()).collect();
        contexts.dedup();
        contexts
    }

    pub(crate) fn schemas(&self) -> impl Iterator<Item = &Schema> {
        let events = self.aggregates.iter().flat_map(|aggregate| &aggregate.events);
        self.engine.iter().chain(events).flat_map(|family| &family.schemas)
    }
}

/// What every application's log holds besides its events, and what every event carries: released with the engine.
pub(crate) const ENVELOPE: (&str, &[u8]) = ("envelope.avsc", include_bytes!("../envelope.avsc"));
pub(crate) const ENGINE: [(&str, &[u8]); 2] = [
    ("engine/accepted.v1.avsc", include_bytes!("../engine/accepted.v1.avsc")),
    ("engine/claim.v1.avsc", include_bytes!("../engine/claim.v1.avsc")),
];
/// Modules beside those of contexts.
const TAKEN: [&str; 2] = ["contexts", "engine"];

/// Reads all files below a folder.
pub(crate) fn discover(root: &Path) -> Result<SchemaSet, String> {
    let (path, envelope) = ENVELOPE;
    let envelope: Map<String, Value> = serde_json::from_slice(envelope).map_err(|error| format!("{path}: {error}"))?;
    let engine = families(ENGINE.map(|(path, bytes)| (path.to_owned(), bytes.to_vec())), &envelope)?;
    let mut aggregates = Vec::new();
    for context in entries(root)?.into_iter().filter(|path| path.is_dir()) {
        for folder in entries(&context)?.into_iter().filter(|path| path.is_dir()) {
            let events = families(files(root, &folder)?, &envelope)?;
            if !events.is_empty() {
                aggregates.push(Aggregate { context: file_name(&context), name: file_name(&folder), events });
            }
        }
    }
    let set = SchemaSet { aggregates, engine };
    if let Some(context) = set.contexts().into_iter().find(|context| TAKEN.contains(context)) {
        return Err(format!("a context cannot have the name {context}: the module is another one"));
    }
    check_unique(&set)?;
    Ok(set)
}

/// The `.avsc` files of one folder, each by its path below `root`.
fn files(root: &Path, folder: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let paths = entries(folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "avsc"));
    let shown = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    paths.map(|path| Ok((shown(&path), read(&path)?))).collect()
}

fn families(
    files: impl IntoIterator<Item = (String, Vec<u8>)>,
    envelope: &Map<String, Value>,
) -> Result<Vec<EventFamily>, String> {
    let mut by_type: BTreeMap<String, Vec<Schema>> = BTreeMap::new();
    for (path, bytes) in files {
        let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".avsc");
        let schema = parse(&path, name, &bytes, envelope)?;
        by_type.entry(schema.event_type.clone()).or_default().push(schema);
    }
    let families = by_type.into_values().map(|mut schemas| {
        schemas.sort_by_key(|schema| (schema.major, schema.revision));
        check_contiguous(&schemas)?;
        Ok(EventFamily { schemas })
    });
    families.collect()
}

/// Majors 1, 2, 3, …, each with revisions 0, 1, 2, …: a hole is a lost file.
fn check_contiguous(schemas: &[Schema]) -> Result<(), String> {
    let (mut major, mut revision) = (1, 0);
    for schema in schemas {
        if schema.major == major + 1 && revision > 0 {
            (major, revision) = (schema.major, 0);
        }
        if (schema.major, schema.revision) != (major, revision) {
            return Err(format!("{}: version {major}.{revision} before it is missing", schema.path));
        }
        revision += 1;
    }
    Ok(())
}

/// Ids are hashes: a collision can only be resolved by another wording of the file that is not released yet.
fn check_unique(set: &SchemaSet) -> Result<(), String> {
    let (mut ids, mut types, mut names) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for schema in set.schemas() {
        if let Some(other) = ids.insert(schema.id, &schema.path) {
            return Err(format!("{} and {other} have the same schema id; reword the doc of the new one", schema.path));
        }
    }
    for aggregate in &set.aggregates {
        let place = format!("{}/{}", aggregate.context, aggregate.name);
        for event in &aggregate.events {
            let newest = event.newest();
            if let Some(other) = types.insert(&newest.event_type, place.clone()) {
                return Err(format!("event type {} is in {place} and in {other}", newest.event_type));
            }
            if names.insert((place.clone(), &newest.name), ()).is_some() || newest.name == "Event" {
                return Err(format!("{}: the name {} is taken in {place}", newest.path, newest.name));
            }
        }
    }
    Ok(())
}

pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let read = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = read.map_err(|error| format!("{}: {error}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
