//! What a data directory holds besides a server's own: the embedded log and the read models.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use annals_api::data_dir::DataDir;
use annals_engine::log::sqlite::{OpenError, SqliteLog};

use crate::exit::{Exit, Failure};

/// A directory that a server has run on.
pub(crate) fn existing(root: &Path) -> anyhow::Result<DataDir> {
    if !log_path(root).exists() {
        return Err(Failure::usage(format!("there is no log in {}", root.display()))
            .remedy("name the directory with --data, or make one with `annals up`")
            .into());
    }
    Ok(DataDir::at(root))
}

/// The event log's file.
pub(crate) fn log_path(root: &Path) -> PathBuf {
    root.join("log.db")
}

/// Opens the log to read it, whoever writes it.
pub(crate) async fn read_log(root: &Path) -> anyhow::Result<Arc<SqliteLog>> {
    let opened = SqliteLog::open_read_only(&log_path(root), annals_schemas::contexts::ALL).await;
    opened.map_err(|error| log_failure(&error).into())
}

/// A log that cannot be opened: damage is told apart from the environment.
pub(crate) fn log_failure(error: &OpenError) -> Failure {
    let exit = if matches!(error, OpenError::Damaged { .. }) { Exit::Mismatch } else { Exit::Usage };
    Failure::new(exit, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_log_is_not_looked_into() {
        let temporary = tempfile::tempdir().unwrap();
        let error = existing(temporary.path()).unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit, Exit::Usage);
    }
}
