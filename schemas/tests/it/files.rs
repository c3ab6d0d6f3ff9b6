//! The released files as they lie in the package.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use annals_model::envelope::SchemaId;
use sha2::{Digest, Sha256};

/// One `.avsc` file.
#[derive(Clone)]
pub(crate) struct File {
    /// Path below the package, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    pub(crate) fn id(&self) -> SchemaId {
        let digest = Sha256::digest(&self.bytes);
        SchemaId(u32::from_be_bytes(digest[..4].try_into().unwrap()) >> 1)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }

    /// Path without major version and revision: the same for all released versions of an event.
    pub(crate) fn family(&self) -> &str {
        self.path.rsplit_once(".v").map_or(self.path.as_str(), |(family, _)| family)
    }

    /// Major version and revision, (0, 0) for the envelope.
    pub(crate) fn version(&self) -> (u16, u16) {
        let version = self.path.rsplit_once(".v").map_or("0", |(_, version)| version.trim_end_matches(".avsc"));
        let (major, revision) = version.split_once('.').unwrap_or((version, "0"));
        (major.parse().unwrap(), revision.parse().unwrap())
    }
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.avsc` file of the package, by family, oldest version first.
pub(crate) fn all() -> Vec<File> {
    let mut paths = Vec::new();
    walk(package(), &mut paths);
    let file = |path: PathBuf| File {
        path: path.strip_prefix(package()).unwrap().to_str().unwrap().replace('\\', "/"),
        bytes: std::fs::read(&path).unwrap(),
    };
    let mut files: Vec<_> = paths.into_iter().map(file).collect();
    files.sort_by(|a, b| (a.family(), a.version()).cmp(&(b.family(), b.version())));
    files
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "avsc") {
            found.push(path);
        }
    }
}
