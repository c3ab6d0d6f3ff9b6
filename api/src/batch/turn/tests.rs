use super::*;

fn tenant(number: u128) -> TenantId {
    TenantId(uuid::Uuid::from_u128(number))
}

fn enter_all(batches: &Batches, tenant: TenantId) -> Vec<Turn> {
    std::iter::from_fn(|| batches.enter(tenant).ok()).take(limits::BATCHES_MAX).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tenant_leaves_as_many_batches_free_as_it_has() {
    let batches = Batches::default();
    let greedy = enter_all(&batches, tenant(1));
    assert_eq!(greedy.len(), limits::BATCHES_MAX / 2);
    let other = enter_all(&batches, tenant(2));
    assert_eq!(other.len(), limits::BATCHES_MAX / 4);
    let mut third = vec![batches.enter(tenant(3)).unwrap()];
    drop(greedy);
    third.extend(enter_all(&batches, tenant(3)));
    assert!(third.len() > limits::BATCHES_MAX / 4, "{}", third.len());
}

#[tokio::test(start_paused = true)]
async fn the_batch_without_a_command_for_the_longest_gives_way_and_one_at_work_never() {
    let batches = Batches::default();
    let all = enter_all(&batches, tenant(1));
    all[0].is_busy();
    tokio::time::advance(Duration::from_millis(limits::BATCH_GIVES_WAY_MS - 1)).await;
    batches.enter(tenant(1)).unwrap_err();
    all[1].is_idle();
    tokio::time::advance(Duration::from_millis(1)).await;
    let next = batches.enter(tenant(1)).unwrap();
    let gave_way: Vec<_> = (0..all.len()).filter(|index| all[*index].gives_way.is_cancelled()).collect();
    assert!(gave_way.len() == 1 && gave_way[0] > 1, "{gave_way:?}");
    drop((all, next));
    assert_eq!(batches.open().batches.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn many_batches_share_what_an_owner_can_take() {
    let batches = Batches::default();
    let first = batches.enter(tenant(1)).unwrap();
    assert_eq!(first.commands_max(), limits::BATCH_COMMANDS_MAX);
    let _more = enter_all(&batches, tenant(1));
    assert_eq!(first.commands_max(), limits::BATCHES_COMMANDS_MAX / (limits::BATCHES_MAX / 2));
}
