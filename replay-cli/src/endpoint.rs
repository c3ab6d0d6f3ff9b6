//! `DIR/endpoint.json`: how the command line finds the server of a data directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where a server listens, a token for it, and its process.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Base address, `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// Bearer token of the development tenant's user.
    pub(crate) token: String,
    /// Process id of the server.
    pub(crate) pid: u32,
}

/// Where the endpoint of a data directory lies.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("endpoint.json")
}

impl Endpoint {
    /// The endpoint that the data directory names; nothing where no server wrote one.
    pub(crate) fn read(data: &Path) -> io::Result<Option<Self>> {
        match fs::read(path(data)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it whole or not at all, readable by its owner only: it carries a token.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        write_private(&path(data), &serde_json::to_vec_pretty(self)?)
    }
}

/// Replaces a file atomically by one that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_endpoint_is_private_and_reads_back() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        assert_eq!(Endpoint::read(dir.path())?, None);
        let endpoint = Endpoint { url: "http://127.0.0.1:1".into(), token: "secret".into(), pid: 7 };
        endpoint.write(dir.path())?;
        assert_eq!(Endpoint::read(dir.path())?, Some(endpoint));
        assert_eq!(fs::metadata(path(dir.path()))?.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }
}
