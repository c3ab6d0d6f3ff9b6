use annals_model::ids::{UserId, WorkspaceId};
use annals_schemas::access::membership::{Added, Removed, Role, RoleChanged};
use annals_schemas::access::workspace::{Archived, Created, Isolation, IsolationSet, Renamed, RetentionSet};

use annals_stores::testing::{History, id, scope};

#[track_caller]
fn check(history: &History, table: &str, expect: &[&str]) {
    assert_eq!(history.rows(&super::newest().model, table), expect);
}

#[test]
fn a_workspace_shows_its_newest_settings_and_keeps_its_slug() {
    let mut history = History::default();
    history.push(scope(1, 0), id(2), Created { name: "Core".into(), slug: "core".into() });
    history.push(scope(1, 0), id(3), Created { name: "Edge".into(), slug: "edge".into() });
    history.push(scope(1, 0), id(2), Renamed { name: "Core Banking".into() });
    history.push(scope(1, 0), id(2), RetentionSet { retention_days: 30 });
    history.push(scope(1, 0), id(2), IsolationSet { isolation: Isolation::Physical });
    history.push(scope(1, 0), id(2), Archived {});
    check(
        &history,
        "workspaces",
        &[
            "1/0/2 live: name=\"Core Banking\" slug=\"core\" retention_days=30 isolation=\"physical\" \
             status=\"archived\" created_at=2026-01-19T12:00:00.000000Z version=5",
            "1/0/3 live: name=\"Edge\" slug=\"edge\" retention_days=null isolation=\"logical\" \
             status=\"active\" created_at=2026-01-19T12:00:01.000000Z version=1",
        ],
    );
}

#[test]
fn a_membership_lies_in_its_workspace_and_leaves_a_tombstone() {
    let user = |number| UserId(id(number).0);
    let added = |number, team: Option<&str>| Added {
        workspace_id: WorkspaceId(id(2).0),
        user_id: user(number),
        role: Role::Member,
        team: team.map(Into::into),
    };
    let mut history = History::default();
    history.push(scope(1, 2), id(40), added(7, Some("payments")));
    history.push(scope(1, 2), id(41), added(8, None));
    history.push(scope(1, 2), id(40), RoleChanged { role: Role::Owner });
    history.push(scope(1, 2), id(41), Removed {});
    check(
        &history,
        "workspace_memberships",
        &[
            "1/2/40 live: user_id=#7 role=\"owner\" team=\"payments\" version=2",
            "1/2/41 deleted: user_id=#8 role=\"member\" team=null version=1",
        ],
    );
}
