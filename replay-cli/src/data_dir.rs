//! A data directory: what lies where, who serves it, and who acts in it during development.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals_api::auth::SigningKey;
use annals_engine::log::sqlite::{OpenError, SqliteLog};
use annals_model::ids::{Actor, TenantId, UserId};
use annals_projectors::process::file::write_private;
use annals_projectors::queries::CursorKey;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::endpoint::{Endpoint, lock_path};
use crate::exit::{Exit, Failure};
use crate::limits;

/// A directory with a log and its read models.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// The tenant and the person that a new data directory's own token is for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The tenant.
    pub(crate) tenant: TenantId,
    /// The person.
    pub(crate) user: UserId,
}

impl Identity {
    /// The person as an actor.
    pub(crate) fn actor(&self) -> Actor {
        Actor::User(self.user)
    }
}

/// The right to serve a directory; let go of when dropped, also by the death of the process.
#[derive(Debug)]
pub(crate) struct ServeLock(#[expect(dead_code, reason = "held for its drop")] File);

impl DataDir {
    /// The directory, made if it is not there.
    pub(crate) fn create(root: &Path) -> anyhow::Result<Self> {
        // Log and read models hold every tenant's data: nobody else on the machine reads them.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|error| Failure::usage(format!("{} cannot be made: {error}", root.display())))?;
        Ok(Self { root: root.to_owned() })
    }

    /// A directory that a server has run on.
    pub(crate) fn existing(root: &Path) -> anyhow::Result<Self> {
        let dir = Self { root: root.to_owned() };
        if !dir.log_path().exists() {
            return Err(Failure::usage(format!("there is no log in {}", root.display()))
                .remedy("name the directory with --data, or make one with `annals up`")
                .into());
        }
        Ok(dir)
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The event log's file.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.root.join("log.db")
    }

    /// Opens the log to read it, whoever writes it.
    pub(crate) async fn read_log(&self) -> anyhow::Result<Arc<SqliteLog>> {
        let opened = SqliteLog::open_read_only(&self.log_path(), annals_schemas::contexts::ALL).await;
        opened.map_err(|error| log_failure(&error).into())
    }

    /// The key that signs the directory's tokens; made if there is none.
    pub(crate) fn signing_key(&self) -> anyhow::Result<SigningKey> {
        SigningKey::open_or_create(&self.root.join("signing.key"))
            .map_err(|error| Failure::usage(error.to_string()).into())
    }

    /// The secret that cursors are signed with; made if there is none.
    pub(crate) fn cursor_key(&self) -> anyhow::Result<CursorKey> {
        let path = self.root.join("cursor.key");
        if !path.exists() {
            let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()];
            write_private(&path, random.as_flattened())?;
        }
        let bytes = fs::read(&path)?;
        let bytes = bytes.try_into().map_err(|_| {
            Failure::usage(format!("{} is damaged", path.display()))
                .remedy("delete it; only pages under way end with it")
        })?;
        Ok(CursorKey::new(bytes))
    }

    /// The development tenant and user; made at random if there are none.
    pub(crate) fn identity(&self) -> anyhow::Result<Identity> {
        let path = self.root.join("development.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged; restore it, or delete it to begin with a new tenant", path.display())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Identity { tenant: TenantId(Uuid::new_v4()), user: UserId(Uuid::new_v4()) };
                write_private(&path, &serde_json::to_vec_pretty(&identity)?)?;
                Ok(identity)
            }
            Err(error) => Err(Failure::usage(format!("{} cannot be read: {error}", path.display())).into()),
        }
    }

    /// Takes the right to serve the directory, which one process can have.
    pub(crate) fn lock(&self) -> anyhow::Result<ServeLock> {
        let path = lock_path(&self.root);
        let failed = |error: io::Error| Failure::usage(format!("{} cannot be locked: {error}", path.display()));
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let mut locked = file.try_lock();
        for _ in 0..limits::LOCK_LOOKS_MAX {
            // Whoever looks for a server holds the lock for a moment, too.
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(limits::LOCK_LOOK_AGAIN_MS));
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => Ok(ServeLock(file)),
            Err(TryLockError::Error(error)) => Err(failed(error).into()),
            Err(TryLockError::WouldBlock) => {
                let server = match Endpoint::read(&self.root) {
                    Ok(Some(endpoint)) => format!("process {} at {}", endpoint.pid, endpoint.url),
                    Ok(None) | Err(_) => "a process that is still starting".to_owned(),
                };
                Err(Failure::new(Exit::Conflict, format!("{} is served already, by {server}", self.root.display()))
                    .remedy("use that server, stop it first, or name another directory with --data")
                    .into())
            }
        }
    }
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
    fn one_process_can_serve_a_directory_and_the_next_is_told_who_does() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temporary.path()).unwrap();
        let held = dir.lock().unwrap();
        Endpoint { url: "http://127.0.0.1:9".into(), token: String::new(), pid: 4711 }.write(dir.root()).unwrap();
        let error = dir.lock().unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.contains("4711"), "{failure}");
        drop(held);
        dir.lock().unwrap();
    }

    #[test]
    fn a_directory_keeps_its_development_tenant() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temporary.path()).unwrap();
        assert_eq!(dir.identity().unwrap(), dir.identity().unwrap());
        fs::write(temporary.path().join("development.json"), "{").unwrap();
        assert!(dir.identity().unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn a_directory_without_a_log_is_not_looked_into() {
        let temporary = tempfile::tempdir().unwrap();
        let error = DataDir::existing(temporary.path()).unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit, Exit::Usage);
    }
}
