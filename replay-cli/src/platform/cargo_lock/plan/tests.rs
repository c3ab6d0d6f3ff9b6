use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const WORKSPACE: Uuid = Uuid::from_u128(7);

fn commands() -> Commands {
    Commands::of(WORKSPACE)
}

/// A workspace that obeys the rules of the domain, and never forgets an id.
#[derive(Clone, Debug, Default)]
struct Workspace {
    present: Present,
    spent: HashSet<Uuid>,
}

impl Workspace {
    fn in_use(&self, id: Uuid) -> bool {
        self.present.applications.iter().any(|known| known.id == id && known.is_active)
    }

    fn application(&mut self, id: Uuid) -> &mut Known {
        self.present.applications.iter_mut().find(|known| known.id == id && known.is_active).unwrap()
    }

    /// Does what a line says, and fails the test where a server would refuse it.
    fn take(&mut self, line: &CommandLine) {
        let document: Value = serde_json::from_str(&line.line).unwrap();
        let id = |value: &Value| value.as_str().unwrap().parse::<Uuid>().unwrap();
        let request = id(&document["client_request_id"]);
        assert!(self.spent.insert(request), "{}: its request was answered before", line.label);
        let aggregate = id(&document["aggregate_id"]);
        let payload = &document["payload"];
        match line.change {
            "registered" => {
                assert!(self.spent.insert(aggregate), "{}: its id is spent", line.label);
                self.register(aggregate, payload["name"].as_str().unwrap());
            }
            "released" => {
                let number = payload["number"].as_str().unwrap().to_owned();
                assert!(self.application(aggregate).releases.insert(number), "{}", line.label);
            }
            "declared" => {
                assert!(self.spent.insert(aggregate), "{}: its id is spent", line.label);
                self.declare(aggregate, id(&payload["from_application_id"]), id(&payload["to_application_id"]));
            }
            "withdrawn" => self.withdraw(aggregate),
            "retired" => self.retire(aggregate),
            other => panic!("{other}"),
        }
    }

    fn register(&mut self, id: Uuid, name: &str) {
        assert!(
            !self.present.applications.iter().any(|known| known.is_active && known.name == name),
            "{name} is taken"
        );
        let releases = BTreeSet::new();
        self.present.applications.push(Known { id, name: name.to_owned(), is_active: true, releases });
    }

    fn declare(&mut self, id: Uuid, from: Uuid, to: Uuid) {
        assert!(from != to && self.in_use(from) && self.in_use(to));
        assert!(!self.present.edges.iter().any(|edge| (edge.from, edge.to) == (from, to)), "the edge is taken");
        self.present.edges.push(Edge { id, from, to, kind: EDGE_KIND.to_owned() });
    }

    fn withdraw(&mut self, id: Uuid) {
        let at = self.present.edges.iter().position(|edge| edge.id == id).unwrap();
        self.present.edges.swap_remove(at);
    }

    fn retire(&mut self, id: Uuid) {
        assert!(!self.present.edges.iter().any(|edge| edge.to == id), "it is needed");
        self.application(id).is_active = false;
    }

    fn active(&self) -> BTreeMap<&str, &Known> {
        self.present.applications.iter().filter(|known| known.is_active).map(|known| (&*known.name, known)).collect()
    }

    /// Edges by names.
    fn edges(&self) -> BTreeSet<(String, String)> {
        let names: HashMap<Uuid, &str> =
            self.present.applications.iter().map(|known| (known.id, &*known.name)).collect();
        self.present.edges.iter().map(|edge| (names[&edge.from].to_owned(), names[&edge.to].to_owned())).collect()
    }
}

/// A lock file by its packages `name version` and its edges.
fn inventory(packages: &[(u8, u8)], edges: &[(u8, u8)]) -> Inventory {
    let mut inventory = Inventory::default();
    for (name, version) in packages {
        let package = inventory.applications.entry(format!("p{name}")).or_default();
        package.versions.insert(format!("{version}.0.0").parse().unwrap());
    }
    for (from, to) in edges {
        let edge = (format!("p{from}"), format!("p{to}"));
        if from != to && inventory.applications.contains_key(&edge.0) && inventory.applications.contains_key(&edge.1) {
            inventory.edges.insert(edge);
        }
    }
    inventory
}

fn import(workspace: &mut Workspace, file: &Inventory, life: u64, cut_off: usize) -> Plan {
    let plan = Plan::of(file, &workspace.present, &commands(), Life::at_ms(life));
    plan.lines.iter().take(cut_off).for_each(|line| workspace.take(line));
    plan
}

#[test]
fn a_first_import_is_what_it_always_was_and_a_second_one_does_nothing() {
    let file = inventory(&[(1, 1), (1, 2), (2, 1), (3, 1)], &[(1, 2), (2, 3)]);
    let mut workspace = Workspace::default();
    let plan = import(&mut workspace, &file, 1, usize::MAX);
    assert_eq!(plan.lines, file.commands(WORKSPACE).collect::<Vec<_>>(), "ids never change");
    let again = import(&mut workspace, &file, 2, usize::MAX);
    assert_eq!(again, Plan { unchanged: file.counts().commands(), ..Plan::default() });
}

#[test]
fn what_left_the_file_is_withdrawn_and_retired_and_comes_back_under_other_ids() {
    let (full, less) = (inventory(&[(1, 1), (2, 1), (3, 1)], &[(1, 2), (2, 3)]), inventory(&[(1, 1), (2, 1)], &[]));
    let mut workspace = Workspace::default();
    import(&mut workspace, &full, 1, usize::MAX);
    let plan = import(&mut workspace, &less, 2, usize::MAX);
    let labels: Vec<&str> = plan.lines.iter().map(|line| line.label.as_str()).collect();
    assert_eq!(labels, ["p1 → p2", "p2 → p3", "p3"]);
    assert!(plan.lines.iter().all(|line| line.line.contains("no longer in the imported Cargo.lock")));
    let plan = import(&mut workspace, &full, 3, usize::MAX);
    let changes = [("registered", 1), ("released", 1), ("declared", 2), ("withdrawn", 0), ("retired", 0)];
    assert_eq!(plan.changes(), changes);
    assert_eq!(workspace.active().len(), 3);
    assert_ne!(workspace.active()["p3"].id, commands().application("p3"));
    // And that life ends, too.
    let plan = import(&mut workspace, &less, 4, usize::MAX);
    assert_eq!(plan.changes()[3..], [("withdrawn", 2), ("retired", 1)]);
}

#[test]
fn what_no_import_made_is_left_alone_and_what_it_needs_stays() {
    let mut workspace = Workspace::default();
    let file = inventory(&[(1, 1), (2, 1)], &[(1, 2)]);
    let (own, named) = (Uuid::from_u128(100), Uuid::from_u128(101));
    workspace.register(own, "own");
    // Somebody registered a package of the file themselves: it is taken as it is.
    workspace.register(named, "p1");
    import(&mut workspace, &file, 1, usize::MAX);
    let second = workspace.active()["p2"].id;
    workspace.declare(Uuid::from_u128(102), own, second);
    let plan = import(&mut workspace, &inventory(&[(9, 1)], &[]), 2, usize::MAX);
    assert_eq!(plan.still_needed, ["p2"]);
    assert_eq!(plan.changes()[3..], [("withdrawn", 1), ("retired", 0)]);
    assert_eq!(plan.of_others, 3, "two applications and an edge");
    workspace.withdraw(Uuid::from_u128(102));
    let plan = import(&mut workspace, &inventory(&[(9, 1)], &[]), 3, usize::MAX);
    assert_eq!(plan.changes()[3..], [("withdrawn", 0), ("retired", 1)]);
    assert_eq!(workspace.active().keys().copied().collect::<Vec<_>>(), ["own", "p1", "p9"]);
}

#[derive(Clone, Debug)]
enum Step {
    /// An import, cut off behind so many commands.
    Import(Inventory, usize),
    /// Somebody takes the nth edge away by hand.
    Withdraw(prop::sample::Index),
    /// Somebody retires the nth application, if nothing needs it.
    Retire(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let package = (0u8..5, 0u8..3);
    let file = (prop::collection::vec(package, 1..8), prop::collection::vec((0u8..5, 0u8..5), 0..8));
    let file = file.prop_map(|(packages, edges)| inventory(&packages, &edges));
    let step = prop_oneof![
        3 => (file, prop_oneof![Just(usize::MAX), 0usize..12]).prop_map(|(file, cut_off)| Step::Import(file, cut_off)),
        1 => any::<prop::sample::Index>().prop_map(Step::Withdraw),
        1 => any::<prop::sample::Index>().prop_map(Step::Retire),
    ];
    prop::collection::vec(step, 1..12)
}

proptest! {
    #[test]
    fn an_import_brings_any_workspace_to_what_the_file_says(steps in steps()) {
        let mut workspace = Workspace::default();
        for (life, step) in (1u64..).zip(steps) {
            match step {
                Step::Withdraw(which) if !workspace.present.edges.is_empty() => {
                    let edge = which.index(workspace.present.edges.len());
                    workspace.present.edges.swap_remove(edge);
                }
                Step::Retire(which) if !workspace.active().is_empty() => {
                    let id = workspace.active().into_values().nth(which.index(workspace.active().len())).unwrap().id;
                    if !workspace.present.edges.iter().any(|edge| edge.to == id) {
                        workspace.application(id).is_active = false;
                    }
                }
                Step::Withdraw(_) | Step::Retire(_) => {}
                Step::Import(file, cut_off) => {
                    import(&mut workspace, &file, 2 * life, cut_off);
                    import(&mut workspace, &file, 2 * life + 1, usize::MAX);
                    prop_assert_eq!(workspace.edges(), file.edges.clone());
                    let (active, wanted) = (workspace.active(), &file.applications);
                    prop_assert!(active.keys().eq(wanted.keys()), "{:?}", active.keys());
                    for (name, package) in wanted {
                        prop_assert!(package.versions.iter().all(|version| active[&**name].releases.contains(&version.to_string())));
                    }
                    let nothing = Plan::of(&file, &workspace.present, &commands(), Life::at_ms(0));
                    prop_assert!(nothing.lines.is_empty());
                }
            }
        }
    }
}
