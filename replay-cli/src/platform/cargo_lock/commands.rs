//! The commands that an inventory is made of, and the ids of what they are about.

use serde_json::{Value, json};
use uuid::Uuid;

use annals_cli::import::CommandLine;
use annals_cli::import::ids::{Life, derive, derive_again, is_of_import};

/// A lock file does not say what a dependency is for; all of them are needed to build.
pub(super) const EDGE_KIND: &str = "build";

/// Why an import takes things away. Part of those commands, and so of what makes them the same when they are sent again.
const REASON: &str = "no longer in the imported Cargo.lock";

/// Makes the commands of one workspace.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    space: String,
}

impl Commands {
    /// Those of this workspace.
    pub(crate) fn of(workspace: Uuid) -> Self {
        Self { space: workspace.to_string() }
    }

    /// Id of the application of this name in its first life.
    pub(crate) fn application(&self, name: &str) -> Uuid {
        derive(&self.named(name))
    }

    /// Its id in a later life.
    pub(super) fn application_again(&self, life: Life, name: &str) -> Uuid {
        derive_again(life, &self.named(name))
    }

    /// True if an import registered the application under this name.
    pub(super) fn registered(&self, id: Uuid, name: &str) -> bool {
        is_of_import(id, &self.named(name))
    }

    /// Id of the dependency between two names in its first life.
    pub(crate) fn dependency(&self, from: &str, to: &str) -> Uuid {
        derive(&self.between(from, to))
    }

    /// Its id in a later life.
    pub(super) fn dependency_again(&self, life: Life, from: &str, to: &str) -> Uuid {
        derive_again(life, &self.between(from, to))
    }

    /// True if an import declared the dependency between these names.
    pub(super) fn declared(&self, id: Uuid, from: &str, to: &str) -> bool {
        is_of_import(id, &self.between(from, to))
    }

    fn named<'a>(&'a self, name: &'a str) -> [&'a str; 3] {
        [&self.space, "application", name]
    }

    fn between<'a>(&'a self, from: &'a str, to: &'a str) -> [&'a str; 5] {
        [&self.space, "dependency", from, to, EDGE_KIND]
    }

    /// Registers an application.
    pub(super) fn register(&self, name: &str, source: Option<&str>, id: Uuid) -> CommandLine {
        let mut payload = json!({"name": name});
        if let Some(source) = source {
            payload["source"] = source.into();
        }
        let request = match id == self.application(name) {
            true => derive(&[&self.space, "request", "register", name]),
            false => self.request("register", id, ""),
        };
        self.line("portfolio.application.register", "registered", name.to_owned(), request, id, &payload)
    }

    /// Says that a version of it is out.
    pub(super) fn release(&self, name: &str, version: &str, id: Uuid) -> CommandLine {
        let request = match id == self.application(name) {
            true => derive(&[&self.space, "request", "release", name, version]),
            false => self.request("release", id, version),
        };
        let (label, payload) = (format!("{name} {version}"), json!({"number": version}));
        self.line("portfolio.application.release_version", "released", label, request, id, &payload)
    }

    /// Declares that one needs the other, by their names and ids.
    pub(super) fn declare(&self, (from, to): (&str, &str), ends: (Uuid, Uuid), id: Uuid) -> CommandLine {
        let request = match id == self.dependency(from, to) {
            true => derive(&[&self.space, "request", "declare", from, to, EDGE_KIND]),
            false => self.request("declare", id, ""),
        };
        let payload = json!({"from_application_id": ends.0, "to_application_id": ends.1, "kind": EDGE_KIND});
        self.line("portfolio.dependency.declare", "declared", format!("{from} → {to}"), request, id, &payload)
    }

    /// Takes a dependency back.
    pub(super) fn withdraw(&self, label: String, id: Uuid) -> CommandLine {
        let request = self.request("withdraw", id, "");
        self.line("portfolio.dependency.withdraw", "withdrawn", label, request, id, &json!({}))
    }

    /// Takes an application out of use.
    pub(super) fn retire(&self, name: &str, id: Uuid) -> CommandLine {
        let request = self.request("retire", id, "");
        self.line("portfolio.application.retire", "retired", name.to_owned(), request, id, &json!({}))
    }

    /// The request that does this to an aggregate, which happens once to each.
    fn request(&self, verb: &str, id: Uuid, detail: &str) -> Uuid {
        derive(&[&self.space, "request", verb, &id.to_string(), detail])
    }

    fn line(
        &self,
        command_type: &str,
        change: &'static str,
        label: String,
        request: Uuid,
        id: Uuid,
        payload: &Value,
    ) -> CommandLine {
        let mut line = json!({
            "type": command_type,
            "client_request_id": request,
            "workspace_id": self.space,
            "aggregate_id": id,
            "payload": payload,
        });
        if matches!(change, "withdrawn" | "retired") {
            line["reason"] = REASON.into();
        }
        CommandLine { label, line: line.to_string(), change }
    }
}
