use annals_model::testing::{Given, folded, given, id};
use annals_schemas::access::workspace;
use uuid::Uuid;

use super::*;

const HOME: WorkspaceId = WorkspaceId(Uuid::from_u128(0xb));
const ELSEWHERE: WorkspaceId = WorkspaceId(Uuid::from_u128(0xbb));
const ADA: UserId = UserId(Uuid::from_u128(0xada));

fn added(role: Role) -> Event {
    Added { workspace_id: HOME, user_id: ADA, role, team: None }.into()
}

fn removed() -> Event {
    Removed {}.into()
}

fn add(role: Role) -> Command {
    Command::Add { user_id: ADA, role, team: None }
}

fn opened() -> workspace::Event {
    workspace::Created { name: "Home".into(), slug: "home".into() }.into()
}

/// Asked about the workspace `HOME`, which exists.
fn at_home(events: impl IntoIterator<Item = Event>) -> Given<Membership> {
    without_workspace(events).and::<Workspace>(workspace_reference(HOME), [opened()])
}

fn without_workspace(events: impl IntoIterator<Item = Event>) -> Given<Membership> {
    given::<Membership>(events).asked(|asked| asked.workspace = HOME)
}

#[test]
fn a_person_is_added_to_a_workspace() {
    at_home([]).when(add(Role::Member)).then([added(Role::Member)]);
    let in_team = Command::Add { user_id: ADA, role: Role::Admin, team: Some("Payments".parse().unwrap()) };
    let team = Some("Payments".to_owned());
    at_home([]).when(in_team).then([Added { workspace_id: HOME, user_id: ADA, role: Role::Admin, team }.into()]);
}

#[test]
fn nobody_is_added_to_a_workspace_that_does_not_exist() {
    without_workspace([]).when(add(Role::Owner)).then_rejected(Rejection::NoSuchWorkspace(HOME));
}

#[test]
fn members_of_an_archived_workspace_stay_as_they_are() {
    let archived = |events: Vec<Event>| {
        let history = [opened(), workspace::Archived {}.into()];
        without_workspace(events).and::<Workspace>(workspace_reference(HOME), history)
    };
    archived(vec![]).when(add(Role::Owner)).then_rejected(Rejection::WorkspaceArchived(HOME));
    for command in [Command::ChangeRole { role: Role::Admin }, Command::Remove {}] {
        archived(vec![added(Role::Member)]).when(command).then_rejected(Rejection::WorkspaceArchived(HOME));
    }
}

#[test]
fn a_role_changes() {
    let change = Command::ChangeRole { role: Role::Admin };
    at_home([added(Role::Member)]).when(change).then([RoleChanged { role: Role::Admin }.into()]);
}

#[test]
fn changing_to_the_same_role_changes_nothing_even_for_the_last_owner() {
    at_home([added(Role::Owner)]).when(Command::ChangeRole { role: Role::Owner }).then_nothing();
}

#[test]
fn a_member_leaves() {
    at_home([added(Role::Member)]).when(Command::Remove {}).then([removed()]);
}

#[test]
fn removing_a_removed_membership_changes_nothing() {
    at_home([added(Role::Member), removed()]).when(Command::Remove {}).then_nothing();
}

#[test]
fn a_removed_membership_cannot_change() {
    let history = [added(Role::Member), removed()];
    at_home(history).when(Command::ChangeRole { role: Role::Member }).then_rejected(Rejection::Removed);
}

#[test]
fn the_last_owner_can_neither_leave_nor_be_demoted() {
    at_home([added(Role::Owner)]).when(Command::Remove {}).then_rejected(Rejection::LastOwner);
    let demote = Command::ChangeRole { role: Role::Admin };
    at_home([added(Role::Owner)]).when(demote.clone()).then_rejected(Rejection::LastOwner);

    let admin_beside = at_home([added(Role::Owner)]).and::<Membership>(id(2), [added(Role::Admin)]);
    admin_beside.when(demote.clone()).then_rejected(Rejection::LastOwner);
    let gone_beside = at_home([added(Role::Owner)]).and::<Membership>(id(2), [added(Role::Owner), removed()]);
    gone_beside.when(demote).then_rejected(Rejection::LastOwner);
}

#[test]
fn an_owner_may_go_when_another_stays() {
    let two = || at_home([added(Role::Owner)]).and::<Membership>(id(2), [added(Role::Owner)]);
    two().when(Command::Remove {}).then([removed()]);
    let demote = Command::ChangeRole { role: Role::Viewer };
    two().when(demote).then([RoleChanged { role: Role::Viewer }.into()]);
}

#[test]
fn an_owner_of_another_workspace_does_not_count() {
    let other = Added { workspace_id: ELSEWHERE, user_id: ADA, role: Role::Owner, team: None }.into();
    let beside = at_home([added(Role::Owner)]).and::<Membership>(id(2), [other]);
    beside.when(Command::Remove {}).then_rejected(Rejection::LastOwner);
}

#[test]
fn a_membership_is_not_reached_through_another_workspace() {
    let elsewhere = given::<Membership>([added(Role::Member)])
        .asked(|asked| asked.workspace = ELSEWHERE)
        .and::<Workspace>(workspace_reference(ELSEWHERE), [opened()]);
    elsewhere.when(Command::Remove {}).then_rejected(Rejection::OfAnotherWorkspace(HOME));
}

#[test]
fn a_person_has_one_live_membership_per_workspace() {
    let key = vec![("membership.user", format!("{HOME}/{ADA}"))];
    assert_eq!(folded::<Membership>([added(Role::Viewer)]).unique_keys(), key);
    assert_eq!(folded::<Membership>([added(Role::Viewer), removed()]).unique_keys(), []);
    assert_eq!(Membership::default().unique_keys(), []);
}

#[test]
fn a_live_membership_points_at_its_workspace_and_an_owner_twice() {
    let home = workspace_reference(HOME);
    assert_eq!(folded::<Membership>([added(Role::Admin)]).references(), [Workspace::MEMBERSHIP.to(home)]);
    assert_eq!(
        folded::<Membership>([added(Role::Owner)]).references(),
        [Workspace::MEMBERSHIP.to(home), Workspace::OWNER.to(home)]
    );
    assert_eq!(folded::<Membership>([added(Role::Owner), removed()]).references(), []);
    assert_eq!(Membership::default().references(), []);
}

#[test]
fn who_is_no_longer_an_owner_does_not_count_as_one() {
    let demoted = || [added(Role::Owner), RoleChanged { role: Role::Viewer }.into()];
    assert_eq!(folded::<Membership>(demoted()).references(), [Workspace::MEMBERSHIP.to(workspace_reference(HOME))]);
    let beside = at_home([added(Role::Owner)]).and::<Membership>(id(2), demoted());
    beside.when(Command::Remove {}).then_rejected(Rejection::LastOwner);
}
