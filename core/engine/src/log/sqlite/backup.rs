//! A whole copy of a log beside whoever writes it: one statement in one read transaction, so that the copy is the log as it
//! was at one moment, and has no write-ahead log of its own that could be lost.

use std::fs::File;
use std::path::Path;

use sqlx::Connection as _;

use super::connections::{Access, connect};
use super::file::{OpenError, absolute};

/// Why there is no copy. Nothing of one is left under the name that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The log cannot be read: what it says applies.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// Nothing is overwritten: name another place.
    #[error("{path} is there already")]
    Exists {
        /// The place.
        path: String,
    },
    /// No room, no permission, or the log could not be read to its end: see to the cause and begin again.
    #[error("the copy {path} cannot be written: {cause}")]
    Unwritable {
        /// The place.
        path: String,
        /// Why.
        cause: String,
    },
}

/// Copies the log at `from` to `to`, durably; whoever writes it goes on meanwhile. `to` must not be there.
pub async fn backup(from: &Path, to: &Path) -> Result<(), BackupError> {
    let (from, to) = (absolute(from)?, absolute(to)?);
    let path = to.display().to_string();
    // A file that is empty would be written to.
    if std::fs::symlink_metadata(&to).is_ok() {
        return Err(BackupError::Exists { path });
    }
    let unwritable = |cause: String| BackupError::Unwritable { path: path.clone(), cause };
    let mut connection = connect(&from, Access::ReadOnly).await.map_err(|failure| OpenError::of(&from, failure))?;
    let copying = sqlx::query("VACUUM INTO ?").bind(to.to_string_lossy().as_ref()).execute(&mut connection).await;
    let closed = connection.close().await;
    let copied = copying.map_err(|error| error.to_string()).and_then(|_| closed.map_err(|error| error.to_string()));
    // SQLite does not flush what it writes this way.
    let durable = copied.and_then(|()| flush(&to).map_err(|error| error.to_string()));
    durable.map_err(|cause| {
        // Half a copy must not be taken for one.
        let _ = std::fs::remove_file(&to);
        unwritable(cause)
    })
}

fn flush(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
