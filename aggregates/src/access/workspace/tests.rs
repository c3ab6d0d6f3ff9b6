use annals_model::testing::{folded, given, id};

use super::*;

fn created() -> Event {
    Created { name: "Core Banking".into(), slug: "core-banking".into() }.into()
}

fn archived() -> Event {
    Archived {}.into()
}

fn create() -> Command {
    Command::Create { name: "Core Banking".parse().unwrap(), slug: "core-banking".parse().unwrap() }
}

fn rename(name: &str) -> Command {
    Command::Rename { name: name.parse().unwrap() }
}

fn retain(days: i64) -> Command {
    Command::SetRetention { retention_days: days.try_into().unwrap() }
}

fn isolate(isolation: Isolation) -> Command {
    Command::SetIsolation { isolation }
}

#[test]
fn a_workspace_is_created_with_name_and_slug() {
    given::<Workspace>([]).when(create()).then([created()]);
}

#[test]
fn a_workspace_cannot_have_the_id_that_stands_for_the_tenant() {
    given::<Workspace>([]).asked(|asked| asked.aggregate_id = id(0)).when(create()).then_rejected(Rejection::NilId);
}

#[test]
fn a_workspace_gets_another_name() {
    given::<Workspace>([created()]).when(rename("Payments")).then([Renamed { name: "Payments".into() }.into()]);
}

#[test]
fn retention_and_isolation_are_set() {
    given::<Workspace>([created()]).when(retain(90)).then([RetentionSet { retention_days: 90 }.into()]);
    let physical = Isolation::Physical;
    given::<Workspace>([created()]).when(isolate(physical)).then([IsolationSet { isolation: physical }.into()]);
}

#[test]
fn setting_what_is_set_already_changes_nothing() {
    given::<Workspace>([created()]).when(rename(" Core Banking ")).then_nothing();
    given::<Workspace>([created(), RetentionSet { retention_days: 90 }.into()]).when(retain(90)).then_nothing();
    given::<Workspace>([created()]).when(isolate(Isolation::Logical)).then_nothing();
}

#[test]
fn a_workspace_is_archived_once() {
    given::<Workspace>([created()]).when(Command::Archive {}).then([archived()]);
    given::<Workspace>([created(), archived()]).when(Command::Archive {}).then_nothing();
}

#[test]
fn an_archived_workspace_refuses_every_other_command() {
    for command in [rename("Payments"), rename("Core Banking"), retain(90), isolate(Isolation::Physical)] {
        given::<Workspace>([created(), archived()]).when(command).then_rejected(Rejection::Archived);
    }
}

#[test]
fn an_archived_workspace_keeps_its_slug() {
    let slug = vec![("workspace.slug", "core-banking".to_owned())];
    assert_eq!(folded::<Workspace>([created()]).unique_keys(), slug);
    assert_eq!(folded::<Workspace>([created(), archived()]).unique_keys(), slug);
    assert_eq!(Workspace::default().unique_keys(), []);
}

#[test]
fn a_workspace_is_open_until_it_is_archived_by_what_clients_see_of_it() {
    let seen = |workspace: Workspace| standing(&serde_json::to_value(workspace).unwrap());
    assert_eq!(seen(folded::<Workspace>([created()])), Standing::Open);
    assert_eq!(seen(folded::<Workspace>([created(), archived()])), Standing::Closed);
    for nothing in [Value::Null, serde_json::json!({}), serde_json::json!({"archived": "no"})] {
        assert_eq!(standing(&nothing), Standing::Closed, "{nothing}");
    }
}
