//! Which files make up a deployment's read models, and who may build in them.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use annals_engine::sink::GenerationId;

/// `DIR/read-models`: `registry.db`, and `<read model>/gen-<N>.db` with `gen-<N>.lock` beside it.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub(super) fn new(data_directory: &Path) -> Self {
        Self { root: data_directory.join("read-models") }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn create_root(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.root)
    }

    pub(super) fn registry(&self) -> PathBuf {
        self.root.join("registry.db")
    }

    pub(super) fn generation(&self, read_model: &str, id: GenerationId) -> PathBuf {
        self.root.join(read_model).join(format!("gen-{id}.db"))
    }

    fn lock_file(&self, read_model: &str, id: GenerationId) -> PathBuf {
        self.root.join(read_model).join(format!("gen-{id}.lock"))
    }

    /// Makes room for a generation's file: its folder exists, and nothing of an earlier attempt is left.
    pub(super) fn clear(&self, read_model: &str, id: GenerationId) -> io::Result<PathBuf> {
        let path = self.generation(read_model, id);
        std::fs::create_dir_all(self.root.join(read_model))?;
        remove_database(&path)?;
        Ok(path)
    }

    /// Removes everything of a generation. Its rows first: where they cannot be removed, nothing is.
    pub(super) fn remove(&self, read_model: &str, id: GenerationId) -> io::Result<()> {
        let path = self.generation(read_model, id);
        remove_if_there(&path)?;
        remove_database(&path)?;
        remove_if_there(&self.lock_file(read_model, id))
    }

    /// The right to build a generation: an OS lock, so that a dead builder's is free at once. Nothing if another has it.
    pub(super) fn try_lock(&self, read_model: &str, id: GenerationId) -> io::Result<Option<File>> {
        std::fs::create_dir_all(self.root.join(read_model))?;
        let path = self.lock_file(read_model, id);
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Files {
    /// Whether somebody holds the right to build a generation.
    pub(super) fn is_locked(&self, read_model: &str, id: GenerationId) -> io::Result<bool> {
        let file = match File::options().write(true).open(self.lock_file(read_model, id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        // Shared, so that those who only ask do not find each other.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Flushes a database file and its folder to the disk: what was written with `synchronous=OFF` becomes durable.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn remove_database(path: &Path) -> io::Result<()> {
    // The write-ahead log first: left alone, it would be replayed into a new file of the same name.
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        remove_if_there(Path::new(&name))?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
