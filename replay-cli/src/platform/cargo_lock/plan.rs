//! What it takes to bring a workspace to what a lock file says.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::Inventory;
use super::commands::{Commands, EDGE_KIND};
use super::present::{Edge, Known, Present, Reader};
use annals_cli::client::Client;
use annals_cli::exit::Failure;
use annals_cli::import::CommandLine;
use annals_cli::import::ids::Life;

/// The commands, in the order in which they can be carried out, and what is left as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) lines: Vec<CommandLine>,
    /// Applications, releases and edges of the file that are there already.
    pub(crate) unchanged: u64,
    /// Applications that the file does not have any more, but that others than imports say they need.
    pub(crate) still_needed: Vec<String>,
    /// Applications and edges that the file does not have and no import made: they are somebody's own.
    pub(crate) of_others: u64,
}

impl Plan {
    /// Looks at the workspace and makes a plan; `life` tells what comes back from what was there before.
    pub(crate) async fn make(
        client: &Client,
        inventory: &Inventory,
        workspace: Uuid,
        life: Life,
    ) -> Result<Self, Failure> {
        let commands = Commands::of(workspace);
        let first = inventory.applications.keys().next().map_or_else(Uuid::nil, |name| commands.application(name));
        let reader = Reader::begin(client, workspace, first).await?;
        let mut present = reader.present().await?;
        for known in present.applications.iter_mut().filter(|known| known.is_active) {
            let Some(package) = inventory.applications.get(&known.name) else { continue };
            // The latest is known already, and most packages have one version.
            if !package.versions.iter().all(|version| known.releases.contains(&version.to_string())) {
                known.releases = reader.releases(known.id).await?;
            }
        }
        Ok(Self::of(inventory, &present, &commands, life))
    }

    /// The plan that leads from `present` to the inventory.
    pub(super) fn of(inventory: &Inventory, present: &Present, commands: &Commands, life: Life) -> Self {
        let mut plan = Self::default();
        let ids = plan.applications(inventory, present, commands, life);
        plan.edges(inventory, present, commands, life, &ids);
        let withdrawn = plan.withdrawals(inventory, present, commands, &ids);
        plan.retirements(inventory, present, commands, &withdrawn);
        plan
    }

    /// How many commands change something in this way, in the order of the plan.
    pub(crate) fn changes(&self) -> Vec<(&'static str, u64)> {
        ["registered", "released", "declared", "withdrawn", "retired"]
            .map(|change| (change, self.of_change(change).count() as u64))
            .to_vec()
    }

    /// The commands that change something in this way.
    pub(crate) fn of_change(&self, change: &'static str) -> impl Iterator<Item = &CommandLine> {
        self.lines.iter().filter(move |line| line.change == change)
    }

    /// Registers what is not in use, releases what is not recorded; the id of each name of the file.
    fn applications<'a>(
        &mut self,
        inventory: &'a Inventory,
        present: &Present,
        commands: &Commands,
        life: Life,
    ) -> HashMap<&'a str, Target> {
        let in_use: HashMap<&str, &Known> =
            present.applications.iter().filter(|known| known.is_active).map(|known| (&*known.name, known)).collect();
        let taken: HashSet<Uuid> = present.applications.iter().map(|known| known.id).collect();
        let nothing = BTreeSet::new();
        let (mut ids, mut releases) = (HashMap::new(), Vec::new());
        for (name, package) in &inventory.applications {
            let known = in_use.get(name.as_str());
            let id = known.map_or_else(
                || Some(commands.application(name)).filter(|first| !taken.contains(first)),
                |known| Some(known.id),
            );
            let id = id.unwrap_or_else(|| commands.application_again(life, name));
            match known {
                Some(_) => self.unchanged += 1,
                None => self.lines.push(commands.register(name, package.source.as_deref(), id)),
            }
            let recorded = known.map_or(&nothing, |known| &known.releases);
            for version in package.versions.iter().map(ToString::to_string) {
                match recorded.contains(&version) {
                    true => self.unchanged += 1,
                    false => releases.push(commands.release(name, &version, id)),
                }
            }
            ids.insert(name.as_str(), Target { id, is_new: known.is_none() });
        }
        self.lines.append(&mut releases);
        ids
    }

    /// Declares the edges that do not hold.
    fn edges(
        &mut self,
        inventory: &Inventory,
        present: &Present,
        commands: &Commands,
        life: Life,
        ids: &HashMap<&str, Target>,
    ) {
        let holding: HashSet<(Uuid, Uuid)> =
            present.edges.iter().filter(|edge| edge.kind == EDGE_KIND).map(|edge| (edge.from, edge.to)).collect();
        for (from, to) in &inventory.edges {
            // Cargo writes no edge to a package that the file does not have.
            let (Some(begin), Some(end)) = (ids.get(from.as_str()), ids.get(to.as_str())) else { continue };
            if holding.contains(&(begin.id, end.id)) {
                self.unchanged += 1;
                continue;
            }
            // Between two that were there before it may have held, and been withdrawn: its first id may be spent.
            let is_first = (begin.is_new && begin.id == commands.application(from))
                || (end.is_new && end.id == commands.application(to));
            let id = match is_first {
                true => commands.dependency(from, to),
                false => commands.dependency_again(life, from, to),
            };
            self.lines.push(commands.declare((from, to), (begin.id, end.id), id));
        }
    }

    /// Withdraws the edges that an import declared and the file does not have any more.
    fn withdrawals(
        &mut self,
        inventory: &Inventory,
        present: &Present,
        commands: &Commands,
        ids: &HashMap<&str, Target>,
    ) -> HashSet<Uuid> {
        let names: BTreeMap<Uuid, &str> = present.applications.iter().map(|known| (known.id, &*known.name)).collect();
        let wanted = |edge: &Edge, from: &str, to: &str| {
            let is_end = |name: &str, id: Uuid| ids.get(name).is_some_and(|target| target.id == id);
            edge.kind == EDGE_KIND
                && is_end(from, edge.from)
                && is_end(to, edge.to)
                && inventory.edges.contains(&(from.to_owned(), to.to_owned()))
        };
        let mut withdrawn = HashSet::new();
        for edge in &present.edges {
            let (Some(from), Some(to)) = (names.get(&edge.from), names.get(&edge.to)) else { continue };
            if wanted(edge, from, to) {
                continue;
            }
            if commands.declared(edge.id, from, to) {
                self.lines.push(commands.withdraw(format!("{from} → {to}"), edge.id));
                withdrawn.insert(edge.id);
            } else {
                self.of_others += 1;
            }
        }
        withdrawn
    }

    /// Retires the applications that an import registered and the file does not have any more, unless others need them.
    fn retirements(
        &mut self,
        inventory: &Inventory,
        present: &Present,
        commands: &Commands,
        withdrawn: &HashSet<Uuid>,
    ) {
        let needed: HashSet<Uuid> =
            present.edges.iter().filter(|edge| !withdrawn.contains(&edge.id)).map(|edge| edge.to).collect();
        for known in present.applications.iter().filter(|known| known.is_active) {
            if inventory.applications.contains_key(&known.name) {
                continue;
            }
            match commands.registered(known.id, &known.name) {
                true if needed.contains(&known.id) => self.still_needed.push(known.name.clone()),
                true => self.lines.push(commands.retire(&known.name, known.id)),
                false => self.of_others += 1,
            }
        }
    }
}

/// The application that a name of the file stands for.
#[derive(Clone, Copy, Debug)]
struct Target {
    id: Uuid,
    is_new: bool,
}

#[cfg(test)]
mod tests;
