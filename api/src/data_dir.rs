//! A server's own directory: who serves it, its keys, and who acts during development.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_model::ids::{Actor, LogId, TenantId, UserId};
use annals_model::query::CursorKey;
use annals_projectors::process::exit::{Exit, Failure};
use annals_projectors::process::file;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::SigningKey;
use crate::endpoint::{Endpoint, lock_path};
use crate::limits;

/// The name of the file that says which log was served here: one that is older than its first claim is not all of it.
pub const SERVED: &str = "log.served";

/// A directory of one server's own.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// The tenant and the person that a new data directory's own token is for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub tenant: TenantId,
    /// The person.
    pub user: UserId,
}

impl Identity {
    /// The person as an actor.
    pub fn actor(&self) -> Actor {
        Actor::User(self.user)
    }
}

/// The right to serve a directory; let go of when dropped, also by the death of the process.
#[derive(Debug)]
pub struct ServeLock(#[expect(dead_code, reason = "held for its drop")] File);

impl DataDir {
    /// The directory, made if it is not there.
    pub fn create(root: &Path) -> Result<Self, Failure> {
        // Log and read models hold every tenant's data: nobody else on the machine reads them.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|error| Failure::usage(format!("{} cannot be made: {error}", root.display())))?;
        Ok(Self { root: root.to_owned() })
    }

    /// A directory that is there already.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Remembers that a log was served here. Before anybody is told that it is.
    pub fn mark_served(&self, log: LogId) -> io::Result<()> {
        match self.was_served(log) {
            true => Ok(()),
            false => file::write_private(&self.root.join(SERVED), log.to_string().as_bytes()),
        }
    }

    /// Whether a log was served here, as far as is remembered.
    pub fn was_served(&self, log: LogId) -> bool {
        fs::read_to_string(self.root.join(SERVED)).is_ok_and(|known| known.trim() == log.to_string())
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The key that signs and verifies tokens, in `file` or the directory's own; made if there is none.
    pub fn signing_key(&self, file: Option<&Path>) -> Result<SigningKey, Failure> {
        SigningKey::open_or_create(&self.signing_key_path(file)).map_err(|error| Failure::usage(error.to_string()))
    }

    fn signing_key_path(&self, file: Option<&Path>) -> PathBuf {
        file.map_or_else(|| self.root.join("signing.key"), Path::to_owned)
    }

    /// The secret that cursors are signed with, in `file` or the directory's own; made if there is none.
    pub fn cursor_key(&self, file: Option<&Path>) -> Result<CursorKey, Failure> {
        let path = file.map_or_else(|| self.root.join("cursor.key"), Path::to_owned);
        let failed = |error: io::Error| Failure::usage(format!("{} cannot be used: {error}", path.display()));
        if !path.exists() {
            let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()];
            file::create_private(&path, random.as_flattened()).map_err(failed)?;
        }
        if let Some(mode) = file::exposed_mode(&path).map_err(failed)? {
            let told = format!("{} has mode {mode:o}; others may have read it", path.display());
            return Err(Failure::usage(told).remedy("delete it, only pages under way end with it; or chmod it to 600"));
        }
        // Read back also what was just made: another process may have been first.
        let bytes = fs::read(&path).map_err(failed)?.try_into().map_err(|_| {
            Failure::usage(format!("{} is damaged", path.display()))
                .remedy("delete it; only pages under way end with it")
        })?;
        Ok(CursorKey::new(bytes))
    }

    /// The development tenant and user, made at random if there are none. They lie beside the key that signs their tokens,
    /// so that servers that share the key share them.
    pub fn identity(&self, signing_key: Option<&Path>) -> Result<Identity, Failure> {
        let path = self.signing_key_path(signing_key).with_file_name("development.json");
        let failed = |error: io::Error| Failure::usage(format!("{} cannot be used: {error}", path.display()));
        if !path.exists() {
            let identity = Identity { tenant: TenantId(Uuid::new_v4()), user: UserId(Uuid::new_v4()) };
            let text = serde_json::to_vec_pretty(&identity).map_err(|error| failed(error.into()))?;
            file::create_private(&path, &text).map_err(failed)?;
        }
        // Read back also what was just made: another process may have been first.
        serde_json::from_slice(&fs::read(&path).map_err(failed)?).map_err(|error| {
            Failure::usage(format!("{} is damaged: {error}", path.display()))
                .remedy("restore it, or delete it to begin with a new tenant")
        })
    }

    /// Takes the right to serve the directory, which one process can have.
    pub fn lock(&self) -> Result<ServeLock, Failure> {
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
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let server = match Endpoint::read(&self.root) {
                    Ok(Some(endpoint)) => format!("process {} at {}", endpoint.pid, endpoint.url),
                    Ok(None) | Err(_) => "a process that is still starting".to_owned(),
                };
                Err(Failure::new(Exit::Conflict, format!("{} is served already, by {server}", self.root.display()))
                    .remedy("use that server, stop it first, or name another directory with --data"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_process_can_serve_a_directory_and_the_next_is_told_who_does() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temporary.path()).unwrap();
        let held = dir.lock().unwrap();
        Endpoint { url: "http://127.0.0.1:9".into(), token: String::new(), pid: 4711 }.write(dir.root()).unwrap();
        let failure = dir.lock().unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.contains("4711"), "{failure}");
        drop(held);
        dir.lock().unwrap();
    }

    #[test]
    fn a_cursor_key_that_others_may_read_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temporary.path()).unwrap();
        dir.cursor_key(None).unwrap();
        let path = temporary.path().join("cursor.key");
        for (mode, is_private) in [(0o600, true), (0o640, false), (0o604, false), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match dir.cursor_key(None) {
                Ok(_) => assert!(is_private, "{mode:o}"),
                Err(failure) => assert!(!is_private && failure.message.contains(&format!("{mode:o}")), "{failure}"),
            }
        }
    }

    #[test]
    fn servers_that_begin_at_once_share_their_development_tenant() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temporary.path()).unwrap();
        for _ in 0..20 {
            let start = std::sync::Barrier::new(8);
            let made = std::thread::scope(|scope| {
                let begin = || {
                    start.wait();
                    dir.identity(None).unwrap()
                };
                let begun: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
                begun.into_iter().map(|begun| begun.join().unwrap()).collect::<Vec<_>>()
            });
            assert!(made.iter().all(|identity| *identity == made[0]), "{made:?}");
            fs::remove_file(temporary.path().join("development.json")).unwrap();
        }
    }

    #[test]
    fn a_directory_keeps_its_development_tenant() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temporary.path()).unwrap();
        assert_eq!(dir.identity(None).unwrap(), dir.identity(None).unwrap());
        fs::write(temporary.path().join("development.json"), "{").unwrap();
        assert!(dir.identity(None).unwrap_err().to_string().contains("damaged"));
    }
}
