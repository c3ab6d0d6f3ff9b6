use super::*;

fn workspace(n: u128) -> (TenantId, WorkspaceId) {
    (TenantId(uuid::Uuid::from_u128(1)), WorkspaceId(uuid::Uuid::from_u128(n)))
}

#[tokio::test]
async fn what_was_read_before_something_was_forgotten_is_not_remembered() {
    let mut known = Known::default();
    let before = known.forgotten;
    known.forgotten += 1;
    known.remember(workspace(1), Standing::Open, before);
    assert!(known.workspaces.is_empty());
    known.remember(workspace(1), Standing::Open, known.forgotten);
    assert_eq!(known.workspaces.len(), 1);
}

#[tokio::test]
async fn nothing_is_remembered_while_a_partition_is_out_of_sight() {
    let mut known = Known::default();
    known.remember(workspace(1), Standing::Open, known.forgotten);
    known.lose_sight_of(Partition(3));
    assert!(known.workspaces.is_empty());
    known.remember(workspace(1), Standing::Open, known.forgotten);
    assert!(known.workspaces.is_empty());
}

#[tokio::test]
async fn no_more_workspaces_are_remembered_than_the_limit() {
    let mut known = Known::default();
    for n in 0..=limits::WORKSPACES_REMEMBERED_MAX as u128 {
        known.remember(workspace(n), Standing::Open, known.forgotten);
    }
    assert!(known.workspaces.len() <= limits::WORKSPACES_REMEMBERED_MAX);
}
