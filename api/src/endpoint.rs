//! `DIR/endpoint.json`: how the command line finds the server of a data directory.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use annals_projectors::process::file::write_private;
use serde::{Deserialize, Serialize};

/// Where a server listens, a token for it, and its process.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Endpoint {
    /// Base address, `http://127.0.0.1:PORT`.
    pub url: String,
    /// Bearer token of the development tenant's user.
    pub token: String,
    /// Process id of the server.
    pub pid: u32,
}

/// The file that the server of a data directory holds locked.
pub fn lock_path(data: &Path) -> PathBuf {
    data.join("lock")
}

/// Where the endpoint of a data directory lies.
pub fn path(data: &Path) -> PathBuf {
    data.join("endpoint.json")
}

impl Endpoint {
    /// The endpoint that the data directory names; nothing where no server wrote one.
    pub fn read(data: &Path) -> io::Result<Option<Self>> {
        match fs::read(path(data)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The endpoint of the server that runs on the directory now. What a killed server left behind, or came along with
    /// a copy of the directory, would lead elsewhere: a server holds its directory's lock.
    pub fn of_running(data: &Path) -> io::Result<Option<Self>> {
        let lock = match File::open(lock_path(data)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Self::read(data),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Writes it whole or not at all, readable by its owner only: it carries a token.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        write_private(&path(data), &serde_json::to_vec_pretty(self)?)
    }
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

    #[test]
    fn an_endpoint_without_a_server_that_holds_the_lock_leads_nowhere() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let endpoint = Endpoint { url: "http://127.0.0.1:1".into(), token: "secret".into(), pid: 7 };
        endpoint.write(dir.path())?;
        assert_eq!(Endpoint::of_running(dir.path())?, None);
        let lock = File::create(lock_path(dir.path()))?;
        assert_eq!(Endpoint::of_running(dir.path())?, None);
        lock.lock()?;
        assert_eq!(Endpoint::of_running(dir.path())?, Some(endpoint));
        Ok(())
    }
}
