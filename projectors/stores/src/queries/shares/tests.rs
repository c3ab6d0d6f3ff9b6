use futures_util::FutureExt as _;
use uuid::Uuid;

use super::*;
use annals_read_models::definitions;

const CONNECTIONS: u32 = limits::READERS_PER_GENERATION_MAX;

fn query(name: &str) -> &'static Query {
    let of_name = |query: &&'static Query| query.name == name;
    definitions().into_iter().rev().find_map(|definition| definition.queries.iter().find(of_name)).unwrap()
}

fn tenant(number: u128) -> TenantId {
    TenantId(Uuid::from_u128(number))
}

/// All turns that a tenant gets without waiting.
fn all(shares: &Shares, of: TenantId, query: &Query) -> Vec<Turn> {
    std::iter::from_fn(|| shares.turn(of, query, CONNECTIONS).now_or_never().flatten()).take(100).collect()
}

#[tokio::test]
async fn a_tenant_that_asks_without_end_leaves_connections_to_the_others() {
    let shares = Shares::default();
    let (walk, plain) = (query("portfolio.cycle"), query("portfolio.projects"));
    let walks = all(&shares, tenant(1), walk);
    assert_eq!(walks.len(), limits::QUERY_WALKS_PER_TENANT_MAX);
    // Its own plain questions are answered beside its walks.
    let own = all(&shares, tenant(1), plain);
    assert_eq!(walks.len() + own.len(), CONNECTIONS as usize / limits::QUERY_TENANT_PART);
    let others = all(&shares, tenant(2), plain);
    assert_eq!(others.len(), CONNECTIONS as usize / limits::QUERY_TENANT_PART);
    assert!(walks.len() + own.len() + others.len() <= CONNECTIONS as usize, "each has a connection at once");
    // A turn that ended is the next one's.
    assert!(shares.turn(tenant(1), walk, CONNECTIONS).now_or_never().flatten().is_none());
    drop(walks);
    assert!(shares.turn(tenant(1), walk, CONNECTIONS).now_or_never().flatten().is_some());
}

#[tokio::test]
async fn walks_of_many_tenants_leave_connections_to_plain_questions() {
    let shares = Shares::default();
    let (walk, plain) = (query("portfolio.cycle"), query("portfolio.projects"));
    let walks: Vec<Turn> = (1..=6).flat_map(|number| all(&shares, tenant(number), walk)).collect();
    assert_eq!(walks.len(), limits::QUERY_WALKS_MAX);
    assert!(walks.len() < CONNECTIONS as usize);
    // Also to those of a tenant whose walks wait.
    let waiting = shares.turn(tenant(50), walk, CONNECTIONS);
    tokio::pin!(waiting);
    assert!((&mut waiting).now_or_never().is_none());
    assert!(shares.turn(tenant(50), plain, CONNECTIONS).now_or_never().flatten().is_some());
    drop(walks);
    assert!(waiting.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_is_not_waited_for_without_end() {
    let shares = Shares::default();
    let plain = query("portfolio.projects");
    let held = all(&shares, tenant(1), plain);
    assert!(shares.turn(tenant(1), plain, CONNECTIONS).await.is_none());
    drop(held);
    // Nobody is remembered who asks nothing.
    drop(shares.turn(tenant(2), plain, CONNECTIONS).await);
    drop(shares.turn(tenant(3), plain, CONNECTIONS).await);
    assert_eq!(shares.tenants.lock().unwrap().len(), 1);
}
