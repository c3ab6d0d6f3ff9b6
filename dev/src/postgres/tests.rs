use super::*;

#[test]
fn a_server_that_was_paused_or_killed_comes_back_with_its_data() {
    let mut server = Server::start().unwrap();
    let database = server.fresh_database().unwrap();
    server.sql(&database.name, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
    server.pause().unwrap();
    let mut asking = Command::new(server.programs.path("psql"));
    asking.args(["-X", "-A", "-t", "-c", "SELECT n FROM kept"]).arg(&database.url).env("PGUSER", ADMINISTRATOR);
    let mut asking = asking.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(processes::is_stopped(server.pid().unwrap()));
    server.resume().unwrap();
    assert!(!asking.wait().unwrap().success(), "the table is the administrator's");
    server.kill().unwrap();
    server.sql(&database.name, "SELECT 1").unwrap_err();
    server.restart().unwrap();
    assert_eq!(server.sql(&database.name, "SELECT n FROM kept").unwrap(), "7");
    let directory = server.directory.clone();
    drop(server);
    assert!(!directory.exists());
}

#[test]
fn a_database_belongs_to_an_ordinary_role_and_to_no_other() {
    let server = shared().unwrap();
    let (ours, theirs) = (server.fresh_database().unwrap(), server.fresh_database().unwrap());
    let owner = format!(
        "SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles JOIN pg_database ON datdba = pg_roles.oid \
         WHERE datname = '{}'",
        ours.name
    );
    assert_eq!(server.sql(&ours.name, &owner).unwrap(), "f");
    let may = format!("SELECT has_database_privilege('{}', '{}', 'CONNECT')", theirs.name, ours.name);
    assert_eq!(server.sql(&ours.name, &may).unwrap(), "f");
}

#[test]
fn a_server_ends_with_its_guardian() {
    let mut server = Server::start().unwrap();
    // As the death of the process would do it.
    server.guardian.finish();
    assert!(server.process.as_mut().unwrap().wait().is_ok());
    assert!(!server.directory.exists());
}
