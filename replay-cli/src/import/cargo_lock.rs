//! A Cargo.lock as commands: one application per package name, each version a release, each pair of names an edge.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context as _;
use cargo_lock::Lockfile;
use serde_json::{Value, json};
use uuid::Uuid;

use super::CommandLine;
use super::ids::derive;
use crate::exit::Failure;
use crate::limits;

/// A lock file does not say what a dependency is for; all of them are needed to build.
const EDGE_KIND: &str = "build";

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
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let unreadable = |error: std::io::Error| Failure::usage(format!("{} cannot be read: {error}", path.display()));
        let mut text = String::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(limits::LOCKFILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > limits::LOCKFILE_BYTES_MAX {
            return Err(Failure::usage(format!(
                "{} is larger than {} MiB",
                path.display(),
                limits::LOCKFILE_BYTES_MAX >> 20
            ))
            .into());
        }
        Self::parse(&text)
            .with_context(|| format!("{} is no Cargo.lock", path.display()))
            .map_err(|error| Failure::usage(format!("{error:#}")).into())
    }

    /// Reads a lock file's text.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let lock: Lockfile = text.parse()?;
        let mut inventory = Self::default();
        for package in &lock.packages {
            let name = package.name.as_str();
            let application = inventory.applications.entry(name.to_owned()).or_default();
            application.versions.insert(package.version.clone());
            if application.source.is_none() {
                application.source = package.source.as_ref().map(|source| source.url().to_string());
            }
            for dependency in &package.dependencies {
                let to = dependency.name.as_str();
                if to == name {
                    inventory.edges_to_itself += 1;
                } else if !inventory.edges.insert((name.to_owned(), to.to_owned())) {
                    inventory.edges_merged += 1;
                }
            }
        }
        Ok(inventory)
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

    /// The commands, applications before releases before edges, with the same ids each time.
    pub(crate) fn commands(&self, workspace: Uuid) -> impl Iterator<Item = CommandLine> + Send + '_ {
        let space = workspace.to_string();
        let ids = Ids { space };
        let registers = self.applications.iter().map({
            let ids = ids.clone();
            move |(name, package)| ids.register(name, package)
        });
        let releases = self.applications.iter().flat_map({
            let ids = ids.clone();
            move |(name, package)| {
                let ids = ids.clone();
                package.versions.iter().map(move |version| ids.release(name, &version.to_string()))
            }
        });
        let edges = self.edges.iter().map(move |(from, to)| ids.declare(from, to));
        registers.chain(releases).chain(edges)
    }
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
    /// Commands that import it.
    pub(crate) fn commands(self) -> u64 {
        self.applications + self.releases + self.edges
    }
}

/// Id of the application that a package of this name becomes.
pub(crate) fn application_id(workspace: Uuid, name: &str) -> Uuid {
    derive(&[&workspace.to_string(), "application", name])
}

#[derive(Clone)]
struct Ids {
    space: String,
}

impl Ids {
    fn application(&self, name: &str) -> Uuid {
        derive(&[&self.space, "application", name])
    }

    fn register(&self, name: &str, package: &Package) -> CommandLine {
        let mut payload = json!({"name": name});
        if let Some(source) = &package.source {
            payload["source"] = source.as_str().into();
        }
        let request = derive(&[&self.space, "request", "register", name]);
        self.line("portfolio.application.register", name.to_owned(), request, self.application(name), &payload)
    }

    fn release(&self, name: &str, version: &str) -> CommandLine {
        let request = derive(&[&self.space, "request", "release", name, version]);
        let label = format!("{name} {version}");
        self.line(
            "portfolio.application.release_version",
            label,
            request,
            self.application(name),
            &json!({"number": version}),
        )
    }

    fn declare(&self, from: &str, to: &str) -> CommandLine {
        let request = derive(&[&self.space, "request", "declare", from, to, EDGE_KIND]);
        let id = derive(&[&self.space, "dependency", from, to, EDGE_KIND]);
        let payload = json!({
            "from_application_id": self.application(from),
            "to_application_id": self.application(to),
            "kind": EDGE_KIND,
        });
        self.line("portfolio.dependency.declare", format!("{from} → {to}"), request, id, &payload)
    }

    fn line(&self, command_type: &str, label: String, request: Uuid, id: Uuid, payload: &Value) -> CommandLine {
        let line = json!({
            "type": command_type,
            "client_request_id": request,
            "workspace_id": self.space,
            "aggregate_id": id,
            "payload": payload,
        });
        CommandLine { label, line: line.to_string() }
    }
}

#[cfg(test)]
mod tests;
