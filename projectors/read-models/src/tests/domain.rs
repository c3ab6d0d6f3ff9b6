//! Whatever the domain lets happen, read models apply it, and their rows say what the aggregates' states say.

use std::collections::BTreeMap;

use annals_model::context::{BoundedContext, ErasedAggregate};
use annals_model::envelope::SchemaId;
use annals_model::ids::{AggregateId, Scope, WorkspaceId};
use annals_model::position::Sequence;
use annals_model::testing::{Asked, World};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;

/// Aggregate type, id, command, payload, workspace.
type Step = (&'static str, u128, &'static str, Value, u128);

fn ids() -> impl Strategy<Value = u128> {
    1..=3u128
}

fn portfolio() -> impl Strategy<Value = Step> {
    let name = || select(vec!["a", "b", "c"]);
    let uuid = |number: u128| json!(id(number));
    prop_oneof![
        (ids(), name(), select(vec!["create", "rename"])).prop_map(|(on, name, command)| (
            "project",
            on,
            command,
            json!({"name": name}),
            2
        )),
        (ids(), select(vec!["archive", "restore"])).prop_map(|(on, command)| ("project", on, command, json!({}), 2)),
        (4..=6u128, name(), prop::option::of(ids())).prop_map(move |(on, name, project)| {
            let payload = json!({"name": name, "project_id": project.map(uuid), "criticality": "low"});
            ("application", on, "register", payload, 2)
        }),
        (4..=6u128, name()).prop_map(|(on, number)| (
            "application",
            on,
            "release_version",
            json!({"number": number}),
            2
        )),
        (4..=6u128, 1..=5).prop_map(|(on, grade)| {
            ("application", on, "assess_risk", json!({"likelihood": grade, "impact": 6 - grade}), 2)
        }),
        (4..=6u128).prop_map(|on| ("application", on, "retire", json!({"force": true}), 2)),
        (7..=9u128, 4..=6u128, 4..=6u128).prop_map(move |(on, from, to)| {
            let ends = json!({"from_application_id": uuid(from), "to_application_id": uuid(to), "kind": "build"});
            ("dependency", on, "declare", ends, 2)
        }),
        (7..=9u128).prop_map(|on| ("dependency", on, "withdraw", json!({}), 2)),
    ]
}

fn access() -> impl Strategy<Value = Step> {
    let role = || select(vec!["owner", "admin", "viewer"]);
    prop_oneof![
        3 => (ids(), select(vec!["a", "b", "c"]))
            .prop_map(|(on, slug)| ("workspace", on, "create", json!({"name": slug, "slug": slug}), 0)),
        1 => ids().prop_map(|on| ("workspace", on, "rename", json!({"name": "other"}), 0)),
        1 => (ids(), 1..9).prop_map(|(on, days)| ("workspace", on, "set_retention", json!({"retention_days": days}), 0)),
        1 => ids().prop_map(|on| ("workspace", on, "set_isolation", json!({"isolation": "physical"}), 0)),
        1 => ids().prop_map(|on| ("workspace", on, "archive", json!({}), 0)),
        3 => (4..=6u128, ids(), role(), ids())
            .prop_map(|(on, user, role, at)| ("membership", on, "add", json!({"user_id": id(user), "role": role}), at)),
        2 => (4..=6u128, role(), ids())
            .prop_map(|(on, role, at)| ("membership", on, "change_role", json!({"role": role}), at)),
        2 => (4..=6u128, ids()).prop_map(|(on, at)| ("membership", on, "remove", json!({}), at)),
    ]
}

/// What the steps come to: the events, and the states behind them.
#[derive(Default)]
struct Outcome {
    history: History,
    world: World,
    versions: BTreeMap<AggregateId, (u64, WorkspaceId)>,
}

impl Outcome {
    fn of(context: &BoundedContext, steps: &[Step]) -> Self {
        let mut outcome = Self::default();
        steps.iter().for_each(|step| outcome.take(context, step));
        outcome
    }

    /// Decides a step as the engine would; a refused one changes nothing.
    fn take(&mut self, context: &BoundedContext, (aggregate, on, command, payload, workspace): &Step) {
        let kind = context.aggregate(aggregate).unwrap();
        let (on, tenant) = (id(*on), scope(1, 0).tenant);
        let state = self.world.get(kind.aggregate_type(), on).cloned();
        if state.is_some() == kind.created_by().contains(command) {
            return;
        }
        let asked = Asked {
            tenant,
            workspace: scope(1, *workspace).workspace,
            aggregate_id: on,
            reason: Some("because".into()),
            ..Asked::default()
        };
        let version = self.versions.get(&on).map_or(0, |(version, _)| *version);
        let ctx = asked.context(kind.scope(), Sequence(version), &self.world);
        let (about, command) = (ctx.workspace, kind.parse(command, payload.clone()).unwrap());
        let state = state.unwrap_or_else(|| kind.initial());
        let Ok(decided) = kind.decide(&state, command, &ctx) else { return };
        if decided.events.is_empty() || self.is_taken(context, kind, on, &kind.unique_keys(&decided.state)) {
            return;
        }
        for event in &decided.events {
            let schema: SchemaId = event.schema;
            let payload = decided.payloads[event.payload.clone()].to_vec();
            self.history.push_bytes(Scope { tenant, workspace: about }, on, schema, payload);
        }
        self.versions.insert(on, (version + decided.events.len() as u64, about));
        let references = kind.references(&decided.state);
        self.world.put(kind.aggregate_type(), on, decided.state, references);
    }

    fn is_taken(
        &self,
        context: &BoundedContext,
        own: &dyn ErasedAggregate,
        on: AggregateId,
        wanted: &annals_model::aggregate::UniqueKeys,
    ) -> bool {
        let others = self.world.iter().filter(|(kind, id, _)| (*kind, *id) != (own.aggregate_type(), on));
        let held = others.flat_map(|(kind, _, state)| context.aggregate(kind).unwrap().unique_keys(state));
        held.into_iter().any(|held| wanted.contains(&held))
    }

    /// What the states say a table's live rows are: `id columns…`, for columns that the states know.
    fn expected(&self, aggregate: &str, row: fn(&Value) -> Option<String>) -> Vec<String> {
        let of_kind = self.world.iter().filter(|(kind, _, _)| *kind == aggregate);
        of_kind
            .filter_map(|(_, on, state)| {
                let (version, about) = self.versions[&on];
                let key = format!("1/{}/{}", about.0.as_u128(), on.0.as_u128());
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
    fn portfolio_rows_say_what_the_states_of_the_aggregates_say(steps in prop::collection::vec(portfolio(), 1..60)) {
        let outcome = Outcome::of(&annals_aggregates::portfolio::context(), &steps);
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
    fn access_rows_say_what_the_states_of_the_aggregates_say(steps in prop::collection::vec(access(), 1..60)) {
        let outcome = Outcome::of(&annals_aggregates::access::context(), &steps);
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
