//! A Cargo.lock as an inventory: one application per package name, each version a release, each pair of names an edge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, ensure};
use cargo_lock::Lockfile;
use uuid::Uuid;

use self::commands::Commands;
use crate::limits;
use annals_cli::exit::Failure;
use annals_cli::import::CommandLine;
use annals_cli::input;

pub(crate) mod commands;
pub(crate) mod plan;
pub(crate) mod present;

/// What a lock file of Cargo has at its top, in any of its versions. Others' lock files are much like it.
const TOP: [&str; 5] = ["version", "package", "root", "metadata", "patch"];
/// What it says of a package.
const OF_A_PACKAGE: [&str; 6] = ["name", "version", "source", "checksum", "dependencies", "replace"];

/// What a lock file holds, by package name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    applications: BTreeMap<String, Package>,
    edges: BTreeSet<(String, String)>,
    /// Edges of the file that became one with another, for the names are the same.
    pub(crate) edges_merged: u64,
    /// Edges of the file between two versions of one package: an application does not depend on itself.
    pub(crate) edges_to_itself: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Package {
    source: Option<String>,
    versions: BTreeSet<cargo_lock::Version>,
}

impl Inventory {
    /// Reads a lock file from disk.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = input::read_file(path, limits::LOCKFILE_BYTES_MAX)?;
        Self::parse(&text)
            .with_context(|| format!("{} is no Cargo.lock", path.display()))
            .map_err(|error| Failure::usage(format!("{error:#}")))
    }

    /// Reads a lock file's text.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        is_of_cargo(&text.parse()?)?;
        let lock: Lockfile = text.parse()?;
        let mut inventory = Self::default();
        // The oldest files keep the project itself apart from the packages that it is made of.
        for package in lock.root.iter().chain(&lock.packages) {
            inventory.add(package);
        }
        ensure!(!inventory.applications.is_empty(), "it names no package");
        Ok(inventory)
    }

    fn add(&mut self, package: &cargo_lock::Package) {
        let name = package.name.as_str();
        let application = self.applications.entry(name.to_owned()).or_default();
        application.versions.insert(package.version.clone());
        if application.source.is_none() {
            application.source = package.source.as_ref().map(|source| source.url().to_string());
        }
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            if to == name {
                self.edges_to_itself += 1;
            } else if !self.edges.insert((name.to_owned(), to.to_owned())) {
                self.edges_merged += 1;
            }
        }
    }

    /// Number of applications, releases and edges.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            applications: self.applications.len() as u64,
            releases: self.applications.values().map(|package| package.versions.len() as u64).sum(),
            edges: self.edges.len() as u64,
        }
    }

    /// Names that depend on `name` directly, in order.
    pub(crate) fn dependents(&self, name: &str) -> Vec<&str> {
        self.edges.iter().filter(|(_, to)| to == name).map(|(from, _)| from.as_str()).collect()
    }

    /// The commands of a workspace that has nothing of it yet, applications before releases before edges, with the same
    /// ids each time.
    pub(crate) fn commands(&self, workspace: Uuid) -> impl Iterator<Item = CommandLine> + Send + '_ {
        let commands = Commands::of(workspace);
        let registers = self.applications.iter().map({
            let commands = commands.clone();
            move |(name, package)| commands.register(name, package.source.as_deref(), commands.application(name))
        });
        let releases = self.applications.iter().flat_map({
            let commands = commands.clone();
            move |(name, package)| {
                let commands = commands.clone();
                package
                    .versions
                    .iter()
                    .map(move |version| commands.release(name, &version.to_string(), commands.application(name)))
            }
        });
        let edges = self.edges.iter().map(move |(from, to)| {
            let ends = (commands.application(from), commands.application(to));
            commands.declare((from, to), ends, commands.dependency(from, to))
        });
        registers.chain(releases).chain(edges)
    }
}

/// Refuses what only looks like a lock file of Cargo: another tool's, a manifest, any other TOML.
fn is_of_cargo(file: &toml::Table) -> anyhow::Result<()> {
    let unknown =
        |table: &toml::Table, known: &[&str]| table.keys().find(|key| !known.contains(&key.as_str())).cloned();
    if let Some(key) = unknown(file, &TOP) {
        anyhow::bail!("{key:?} is nothing that Cargo writes there");
    }
    let root = file.get("root").and_then(toml::Value::as_table);
    let packages = file.get("package").and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for package in packages.iter().filter_map(toml::Value::as_table).chain(root) {
        if let Some(key) = unknown(package, &OF_A_PACKAGE) {
            anyhow::bail!("{key:?} is nothing that Cargo says of a package");
        }
    }
    Ok(())
}

/// How much a lock file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Package names.
    pub(crate) applications: u64,
    /// Packages: names with a version.
    pub(crate) releases: u64,
    /// Pairs of names.
    pub(crate) edges: u64,
}

impl Counts {
    /// Commands that import it into an empty workspace.
    pub(crate) fn commands(self) -> u64 {
        self.applications + self.releases + self.edges
    }
}

/// Id of the application that a package of this name becomes when it first comes.
pub(crate) fn application_id(workspace: Uuid, name: &str) -> Uuid {
    Commands::of(workspace).application(name)
}

#[cfg(test)]
mod tests;
