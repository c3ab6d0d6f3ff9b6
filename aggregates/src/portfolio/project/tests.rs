use annals_model::testing::{folded, given};

use super::*;

fn created() -> Event {
    Created { name: "Ledger".into() }.into()
}

fn archived() -> Event {
    Archived {}.into()
}

fn rename(name: &str) -> Command {
    Command::Rename { name: name.parse().unwrap() }
}

#[test]
fn a_project_is_created_with_its_name_trimmed() {
    given::<Project>([]).when(Command::Create { name: " Ledger ".parse().unwrap() }).then([created()]);
}

#[test]
fn a_project_gets_another_name() {
    given::<Project>([created()]).when(rename("Books")).then([Renamed { name: "Books".into() }.into()]);
    given::<Project>([created()]).when(rename("Ledger")).then_nothing();
}

#[test]
fn a_project_is_archived_once() {
    given::<Project>([created()]).when(Command::Archive {}).then([archived()]);
    given::<Project>([created(), archived()]).when(Command::Archive {}).then_nothing();
}

#[test]
fn an_archived_project_cannot_be_renamed() {
    given::<Project>([created(), archived()]).when(rename("Books")).then_rejected(Rejection::Archived);
}

#[test]
fn a_project_is_restored_once() {
    given::<Project>([created(), archived()]).when(Command::Restore {}).then([Restored {}.into()]);
    given::<Project>([created()]).when(Command::Restore {}).then_nothing();
}

#[test]
fn an_archived_project_keeps_its_name() {
    let name = vec![("project.name", "Ledger".to_owned())];
    assert_eq!(folded::<Project>([created()]).unique_keys(), name);
    assert_eq!(folded::<Project>([created(), archived()]).unique_keys(), name);
    assert_eq!(Project::default().unique_keys(), []);
}

#[test]
fn a_name_from_before_names_had_one_form_folds_and_is_unique_in_that_form() {
    let name = "Cafe\u{301}".to_owned();
    let old = folded::<Project>([Created { name: name.clone() }.into()]);
    assert_eq!(old.name, name);
    assert_eq!(old.unique_keys(), [("project.name", "Caf\u{e9}".to_owned())]);
}
