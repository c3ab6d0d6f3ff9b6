//! Where what was fetched is kept.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The directory that this program was built into; for a program that was installed elsewhere, the user's cache.
pub(crate) fn kept() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    if let Some(target) = target {
        return Ok(target.to_path_buf());
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| Path::new(value).is_absolute()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME says where to keep what is fetched")?.join("annals"))
}
