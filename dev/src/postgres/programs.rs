//! Where the programs of PostgreSQL lie, and which account they may run as.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where Debian and Ubuntu install them, a folder per version.
const INSTALLED: &str = "/usr/lib/postgresql";
/// Accounts that it may run as where we are root, in this order.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// The programs, and the account for them; none where we are an ordinary account ourselves.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    pub(super) account: Option<Account>,
}

/// An account of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Programs {
    /// The newest that are installed, or those on the path.
    pub(super) fn find() -> anyhow::Result<Self> {
        let folder = installed().or_else(on_path).context(
            "tests need a real PostgreSQL, 13 or newer: install it (on Debian: postgresql), or put initdb, postgres and \
             psql on the PATH",
        )?;
        // Ours, whoever started us: a file that the kernel makes for this process.
        let is_root = std::fs::metadata("/proc/self")?.uid() == 0;
        let account = if is_root { Some(account()?) } else { None };
        Ok(Self { folder, account })
    }

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).exists())
}

fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir(INSTALLED).ok()?.filter_map(Result::ok);
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok().filter(|version| *version >= 13);
    let numbered = versions.filter_map(|entry| Some((version(&entry.path())?, entry.path().join("bin"))));
    numbered.filter(|(_, folder)| is_complete(folder)).max().map(|(_, folder)| folder)
}

fn on_path() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| is_complete(folder))
}

fn account() -> anyhow::Result<Account> {
    let known = std::fs::read_to_string("/etc/passwd")?;
    let find = |name: &&str| {
        let mut fields =
            known.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?;
        let uid = fields.nth(2)?.parse().ok()?;
        Some(Account { uid, gid: fields.next()?.parse().ok()? })
    };
    ACCOUNTS.iter().find_map(find).context("PostgreSQL refuses to run as root: make an account named postgres for it")
}
