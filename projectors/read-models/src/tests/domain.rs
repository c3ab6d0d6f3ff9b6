//! Whatever the domain lets happen, read models apply it, and their rows say what the aggregates' states say.

use annals_aggregates::testing::{Logged, Simulation, Step, steps};
use annals_model::context::BoundedContext;
use annals_model::ids::Scope;
use annals_model::testing::Asked;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What the steps come to, as a read model's history: the events, and the states behind them.
struct Outcome<'a> {
    simulation: Simulation<'a>,
    history: History,
}

impl<'a> Outcome<'a> {
    fn of(context: &'a BoundedContext, steps: &[Step]) -> Self {
        let (mut simulation, mut history) = (Simulation::new(context), History::default());
        steps.iter().for_each(|step| simulation.ask(step).unwrap());
        for Logged { id, workspace, event } in &simulation.log {
            let scope = Scope { tenant: Asked::default().tenant, workspace: *workspace };
            history.push_bytes(scope, *id, event.schema, event.payload.clone());
        }
        Self { simulation, history }
    }

    /// What the states say a table's live rows are: `id columns…`, for columns that the states know.
    fn expected(&self, aggregate: &str, row: fn(&Value) -> Option<String>) -> Vec<String> {
        let of_kind = self.simulation.world.iter().filter(|(kind, _, _)| *kind == aggregate);
        of_kind
            .filter_map(|(kind, on, state)| {
                let mut own = self.simulation.log.iter().filter(|logged| logged.id == on && logged.is_of(kind));
                let (version, about) = (own.clone().count(), own.next_back().unwrap().workspace.0.as_u128());
                let key = format!("{}/{about}/{}", Asked::default().tenant.0.as_u128(), on.0.as_u128());
                row(&state.to_json()).map(|columns| format!("{key} live: {columns} version={version}"))
            })
            .collect()
    }

    /// The live rows of a table, with those of their columns that `like` has: what states do not know is not compared.
    fn rows(&self, definition: &Definition, table: &str, like: &[String]) -> Vec<String> {
        let rows = self.history.rows(&definition.model, table);
        let columns = |row: &str| row.split(' ').map(|part| part.split('=').next().unwrap().to_owned()).collect();
        let known: Vec<String> = like.first().map_or_else(Vec::new, |row| columns(row));
        // A key is no column; every row has its own.
        let kept = |part: &&str| part.split_once('=').is_none_or(|(name, _)| known.iter().any(|known| known == name));
        let live = rows.iter().filter(|row| row.contains(" live: "));
        live.map(|row| row.split(' ').filter(kept).collect::<Vec<_>>().join(" ")).collect()
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => match text.parse::<uuid::Uuid>() {
            Ok(id) => format!("#{}", id.as_u128()),
            Err(_) => format!("{text:?}"),
        },
        other => other.to_string(),
    }
}

fn project(state: &Value) -> Option<String> {
    let status = if state["archived"] == true { "archived" } else { "active" };
    Some(format!("name={} status={status:?}", show(&state["name"])))
}

fn application(state: &Value) -> Option<String> {
    let [name, project, criticality] = ["name", "project_id", "criticality"].map(|member| show(&state[member]));
    let releases = state["releases"].as_array().unwrap().len();
    let [likelihood, impact] = ["likelihood", "impact"].map(|member| show(&state["risk"][member]));
    let status = if state["retired"] == true { "retired" } else { "active" };
    Some(format!(
        "name={name} project_id={project} criticality={criticality} release_count={releases} likelihood={likelihood} \
         impact={impact} status={status:?}"
    ))
}

fn dependency(state: &Value) -> Option<String> {
    let [from, to, kind] = ["from_application_id", "to_application_id", "kind"].map(|member| show(&state[member]));
    let live = state["withdrawn"] == false;
    live.then(|| format!("from_application_id={from} to_application_id={to} kind={kind}"))
}

fn workspace(state: &Value) -> Option<String> {
    let [name, slug, days, isolation] =
        ["name", "slug", "retention_days", "isolation"].map(|member| show(&state[member]));
    let status = if state["archived"] == true { "archived" } else { "active" };
    Some(format!("name={name} slug={slug} retention_days={days} isolation={isolation} status={status:?}"))
}

fn membership(state: &Value) -> Option<String> {
    let [user, role, team] = ["user_id", "role", "team"].map(|member| show(&state[member]));
    (state["state"] == "active").then(|| format!("user_id={user} role={role} team={team}"))
}

fn named(name: &str) -> Definition {
    definitions().into_iter().rfind(|definition| definition.model.name() == name).unwrap()
}

proptest! {
    #[test]
    fn portfolio_rows_say_what_the_states_of_the_aggregates_say(steps in steps("portfolio")) {
        let context = annals_aggregates::portfolio::context();
        let outcome = Outcome::of(&context, &steps);
        let newest = named("portfolio");
        for (table, expected) in [
            ("projects", outcome.expected("project", project)),
            ("applications", outcome.expected("application", application)),
            ("dependencies", outcome.expected("dependency", dependency)),
        ] {
            prop_assert_eq!(outcome.rows(&newest, table, &expected), expected);
        }
        // Each version knows less than the next, and nothing else.
        let versions: Vec<_> = definitions().into_iter().filter(|one| one.model.name() == "portfolio").collect();
        for (older, next) in versions.iter().zip(&versions[1..]) {
            for shape in older.model.tables() {
                let rows = outcome.history.rows(&older.model, shape.name);
                let live: Vec<_> = rows.into_iter().filter(|row| row.contains(" live: ")).collect();
                prop_assert_eq!(outcome.rows(next, shape.name, &live), live);
            }
        }
    }

    #[test]
    fn access_rows_say_what_the_states_of_the_aggregates_say(steps in steps("access")) {
        let context = annals_aggregates::access::context();
        let outcome = Outcome::of(&context, &steps);
        let v1 = named("access");
        let expected = outcome.expected("workspace", workspace);
        prop_assert_eq!(outcome.rows(&v1, "workspaces", &expected), expected);
        let mut expected = outcome.expected("membership", membership);
        let mut found = outcome.rows(&v1, "workspace_memberships", &expected);
        // Rows are ordered by workspace, states by aggregate.
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
