//! Who may see and do what: PostgreSQL's own rules, beneath everything that Annals does.

use annals_engine::sink::{PromoteError, SinkError};

use super::super::access::{READONLY, SERVING};
use super::*;

/// A live row, and a deleted one, of a tenant that is told by a digit.
fn two_items(tenant: u8) -> String {
    let row = |number: u8, deleted: bool| {
        let id = |last: u8| format!("'00000000-0000-0000-0000-00000000000{last}'");
        format!(
            "INSERT INTO stock_g1.items VALUES
                 ({}, {}, {}, 'nail', 'front', NULL, false, {}, now(), NULL, '{{}}', 1, {deleted});",
            id(tenant),
            id(1),
            id(number),
            id(1)
        )
    };
    row(1, false) + &row(2, true)
}

fn as_tenant(tenant: u8) -> String {
    format!("SET annals.tenant = '00000000-0000-0000-0000-00000000000{tenant}'")
}

/// A live generation with rows of two tenants, and a connection of its owner that says nothing about itself.
async fn two_tenants(database: &Database) -> (PostgresStore, Generation, PgConnection) {
    let store = store(database).await;
    let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let mut owner = by_hand(&database.url).await;
    let rows = format!("SET annals.writer = 'on'; {} {} RESET annals.writer", two_items(1), two_items(2));
    run(&mut owner, &rows).await.unwrap();
    (store, live, owner)
}

#[tokio::test]
async fn no_tenant_sees_no_row_and_each_tenant_its_own_alone() {
    let database = database();
    let (_store, _, mut owner) = two_tenants(&database).await;
    assert_eq!(count(&mut owner, "stock_g1.items").await.unwrap(), 0, "FORCE binds the owner as well");
    for tenant in [1, 2] {
        run(&mut owner, &as_tenant(tenant)).await.unwrap();
        assert_eq!(count(&mut owner, "stock_g1.items").await.unwrap(), 2);
        let others = format!("stock_g1.items WHERE tenant_id <> '00000000-0000-0000-0000-00000000000{tenant}'");
        assert_eq!(count(&mut owner, &others).await.unwrap(), 0);
    }
    let written = run(&mut owner, &two_items(1).replace("-000000000002',", "-000000000003',")).await.unwrap_err();
    assert!(written.to_string().contains("row-level security"), "{written}");
}

#[tokio::test]
async fn tables_that_lost_their_row_level_security_are_refused() {
    let database = database();
    let (store, live, mut owner) = two_tenants(&database).await;
    store.open(&live).await.unwrap();
    for change in ["NO FORCE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY"] {
        run(&mut owner, &format!("ALTER TABLE stock_g1.items {change}")).await.unwrap();
        match store.open(&live).await {
            Err(StoreError::Sink(SinkError::Shape { difference, .. })) => {
                assert_eq!(difference, "table `items` is without forced row-level security");
            }
            other => panic!("{change}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn members_of_the_readonly_role_read_the_stable_views_and_nothing_else() {
    let server = shared().unwrap();
    let database = database();
    groups();
    let (_store, _, _) = two_tenants(&database).await;
    let reader = member(&database, READONLY);
    let mut reader = by_hand(&server.url(&database.name, &reader)).await;
    assert_eq!(count(&mut reader, "stock.items").await.unwrap(), 0);
    // Not even with the setting that makes the owner a writer: the reader is not the owner.
    run(&mut reader, "SET annals.writer = 'on'").await.unwrap();
    assert_eq!(count(&mut reader, "stock.items").await.unwrap(), 0);
    run(&mut reader, &as_tenant(1)).await.unwrap();
    assert_eq!(count(&mut reader, "stock.items").await.unwrap(), 1, "the live one");
    let columns =
        count(&mut reader, "information_schema.columns WHERE table_schema = 'stock' AND column_name = 'deleted'");
    assert_eq!(columns.await.unwrap(), 0);
    for from in ["stock_g1.items", "stock_g1.annals_checkpoints", "annals.generations"] {
        let refused = count(&mut reader, from).await.unwrap_err();
        assert_eq!(answer::sqlstate(&refused).as_deref(), Some("42501"), "{from}: {refused}");
    }
    run(&mut reader, "DELETE FROM stock.items").await.unwrap_err();
}

#[tokio::test]
async fn members_of_the_serving_role_answer_queries_and_change_nothing() {
    let database = database();
    groups();
    let (_, live, _) = two_tenants(&database).await;
    let url = shared().unwrap().url(&database.name, &member(&database, SERVING));
    let serving = PostgresStore::open(&url, definitions(), LOG_ID).await.unwrap();
    assert_eq!(serving.ensure_live(&stock::stock_v1()).await, Ok(Some(live.clone())));
    assert_eq!(serving.checkpoints(&live).await, Ok(Checkpoints::start(LOG_ID)));
    let mut by_hand = by_hand(&url).await;
    run(&mut by_hand, "SET annals.writer = 'on'").await.unwrap();
    assert_eq!(count(&mut by_hand, "stock_g1.items").await.unwrap(), 0);
    run(&mut by_hand, &as_tenant(2)).await.unwrap();
    assert_eq!(count(&mut by_hand, "stock_g1.items").await.unwrap(), 2);
    let created = serving.create(&stock::stock_v1(), "a test").await.unwrap_err();
    assert!(created.to_string().contains("permission denied"), "{created}");
    let batch = Batches::new(1, 0, 1, 5).next(5);
    let mut sink = serving.open(&live).await.unwrap();
    let written = consume(&mut *sink, &stock::stock_v1(), &batch).await.unwrap_err();
    assert!(written.to_string().contains("permission denied"), "{written}");
}

/// Makes the groups that this server's ordinary roles may not make.
fn groups() {
    for group in [READONLY, SERVING] {
        let make = format!(
            "DO $$ BEGIN CREATE ROLE {group} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
        );
        shared().unwrap().sql("postgres", &make).unwrap();
    }
}

/// A role that may connect to a database, and is a member of a group.
fn member(database: &Database, group: &str) -> String {
    let (server, name) = (shared().unwrap(), format!("{}_{group}", database.name));
    server.create_role(&name, &format!("IN ROLE {group}")).unwrap();
    server.sql("postgres", &format!("GRANT CONNECT ON DATABASE {} TO {name}", database.name)).unwrap();
    name
}

async fn refused(url: &str) -> OpenError {
    PostgresStore::open(url, definitions(), LOG_ID).await.unwrap_err()
}

#[tokio::test]
async fn roles_that_row_level_security_does_not_bind_are_refused() {
    let (server, database) = (shared().unwrap(), database());
    for attribute in ["SUPERUSER", "BYPASSRLS"] {
        let role = format!("{}_{}", database.name, attribute.to_lowercase());
        server.create_role(&role, attribute).unwrap();
        server.sql("postgres", &format!("GRANT ALL ON DATABASE {} TO {role}", database.name)).unwrap();
        let error = refused(&server.url(&database.name, &role)).await;
        assert!(matches!(error, OpenError::Privileged { .. }), "{error}");
        assert!(error.to_string().contains("CREATE ROLE annals LOGIN; ALTER DATABASE annals_"), "{error}");
    }
}

#[tokio::test]
async fn whatever_keeps_a_role_out_is_told_with_its_remedy() {
    let (server, database) = (shared().unwrap(), database());
    let name = &database.name;
    let (guest, asked) = (format!("{name}_guest"), format!("{name}_asked"));
    server.create_role(&guest, "").unwrap();
    server.create_role_with_password(&asked, "secret").unwrap();
    for role in [&guest, &asked] {
        server.sql("postgres", &format!("GRANT CONNECT ON DATABASE {name} TO {role}")).unwrap();
    }
    let wrong_password = server.url(name, &format!("{asked}:wrong"));
    for (url, says) in [
        (server.url(name, &guest), format!("GRANT CREATE ON DATABASE {name} TO {guest}")),
        (wrong_password, "correct the password in the address".to_owned()),
        (server.url(name, "nobody"), "make it, or allow it in pg_hba.conf".to_owned()),
        (server.url("nowhere", name), "CREATE DATABASE nowhere OWNER annals".to_owned()),
        ("http://127.0.0.1/".to_owned(), "postgres://ROLE@HOST:PORT/DATABASE".to_owned()),
    ] {
        let error = refused(&url).await;
        assert!(error.to_string().contains(&says) && !error.is_transient(), "{url}: {error}");
        assert!(!format!("{error:?}").contains("wrong:"), "a password is never shown");
    }
    // Let in, once the database's owner has made what is needed.
    let right = server.url(name, &format!("{asked}:secret"));
    server.sql("postgres", &format!("GRANT CREATE ON DATABASE {name} TO {asked}")).unwrap();
    PostgresStore::open(&right, definitions(), LOG_ID).await.unwrap();
}

#[tokio::test]
async fn the_views_follow_what_is_live_and_leave_what_others_built_on_them() {
    let database = database();
    let (store, live, mut owner) = two_tenants(&database).await;
    run(&mut owner, "CREATE VIEW of_others AS SELECT name FROM stock.items").await.unwrap();
    let same = built(&store, &stock::stock_v1()).await;
    store.promote(stock::STOCK, same.id).await.unwrap();
    run(&mut owner, &as_tenant(1)).await.unwrap();
    assert_eq!(count(&mut owner, "of_others").await.unwrap(), 0, "the new generation has no rows");
    let changed = built(&store, &stock::stock_v2()).await;
    match store.promote(stock::STOCK, changed.id).await {
        Err(PromoteError::Store(StoreError::Unavailable(cause))) => {
            assert!(cause.contains("view of_others depends on view stock.items"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.live(stock::STOCK).await.unwrap().unwrap().id, same.id, "nothing was promoted");
    run(&mut owner, "DROP VIEW of_others").await.unwrap();
    store.promote(stock::STOCK, changed.id).await.unwrap();
    count(&mut owner, "stock.items WHERE moves > 0").await.unwrap();
    count(&mut owner, "stock.visits").await.unwrap_err();
    store.promote(stock::STOCK, live.id).await.unwrap();
    assert_eq!(count(&mut owner, "stock.items").await.unwrap(), 1);
}
