//! Small files that are there whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use uuid::Uuid;

/// Replaces a file atomically by one that only its owner may read.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)
}

/// Makes a file that only its owner may read, unless it is there already: linked into place whole, so that nobody ever reads
/// half of it, and of two processes that make one at the same time the first wins. Read it back: it may be the other's.
pub fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", Uuid::new_v4().simple()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written,
    }
}

/// The permission bits of a file that others than its owner may read, or write.
pub fn exposed_mode(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_that_make_a_file_at_once_one_wins_and_all_read_the_same() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = directory.path().join(format!("{round}.key"));
            let start = std::sync::Barrier::new(8);
            let read: Vec<Vec<u8>> = std::thread::scope(|scope| {
                let make = |number: u8| {
                    let (path, start) = (&path, &start);
                    scope.spawn(move || {
                        start.wait();
                        create_private(path, &[number; 32]).unwrap();
                        fs::read(path).unwrap()
                    })
                };
                let made: Vec<_> = (0..8).map(make).collect();
                made.into_iter().map(|made| made.join().unwrap()).collect()
            });
            assert!(read.iter().all(|bytes| *bytes == read[0] && bytes.len() == 32), "{read:?}");
            assert_eq!(exposed_mode(&path).unwrap(), None);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 20, "drafts are left over");
    }
}
