//! The released files: the application's, as they lie below its folder, and those that came with the engine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use annals_model::envelope::SchemaId;
use sha2::{Digest, Sha256};

use crate::discover::{self, ENGINE, ENVELOPE};
use crate::schema;

/// One `.avsc` file.
#[derive(Clone)]
pub(super) struct File {
    /// Path below the folder, with `/`.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    /// Envelope and payload as one Avro schema; nothing for the envelope, which is in all others.
    pub(super) writer_schema: Option<String>,
}

impl File {
    pub(super) fn id(&self) -> SchemaId {
        SchemaId(schema::schema_id(&self.bytes))
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Path without major version and revision: the same for all released versions of an event.
    pub(super) fn family(&self) -> &str {
        self.path.rsplit_once(".v").map_or(self.path.as_str(), |(family, _)| family)
    }

    /// Major version and revision, (0, 0) for the envelope.
    pub(super) fn version(&self) -> (u16, u16) {
        let version = self.path.rsplit_once(".v").map_or("0", |(_, version)| version.trim_end_matches(".avsc"));
        let (major, revision) = version.split_once('.').unwrap_or((version, "0"));
        (major.parse().unwrap_or_default(), revision.parse().unwrap_or_default())
    }
}

pub(super) fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // A String takes whatever is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Every `.avsc` file, by family, oldest version first.
pub(super) fn all(folder: &Path) -> Result<Vec<File>, String> {
    let mut found: Vec<_> =
        ENGINE.into_iter().chain([ENVELOPE]).map(|(path, bytes)| (path.to_owned(), bytes.to_vec())).collect();
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    for path in paths {
        let shown = path.strip_prefix(folder).unwrap_or(&path).display().to_string().replace('\\', "/");
        found.push((shown, discover::read(&path)?));
    }
    let set = discover::discover(folder)?;
    let of = |path: &str| set.schemas().find(|schema| schema.path == path).map(|schema| schema.writer_schema.clone());
    let mut files: Vec<_> =
        found.into_iter().map(|(path, bytes)| File { writer_schema: of(&path), path, bytes }).collect();
    files.sort_by(|a, b| (a.family(), a.version()).cmp(&(b.family(), b.version())));
    Ok(files)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    for path in discover::entries(folder)? {
        if path.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "avsc") {
            found.push(path);
        }
    }
    Ok(())
}
