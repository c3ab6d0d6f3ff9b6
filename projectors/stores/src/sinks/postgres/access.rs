//! Who may see which rows? PostgreSQL decides it itself, by row-level security, beneath everything that Annals does.
//!
//! | role | what it is | what it may |
//! |---|---|---|
//! | the URL's own | owns the database, or may create in it; never a superuser, never `BYPASSRLS` | all rows, but only on connections that say [`WRITER_SETTING`]: writers, builders, verifications. Its queries see the tenant that they name |
//! | [`SERVING`] | a group; made where the URL's role may, else by an administrator | reads registry and generations, one tenant at a time, and says that it lives: enough for a process that only answers queries |
//! | [`READONLY`] | the same | reads the stable views, one tenant at a time, and nothing else |
//!
//! No tenant named, no rows. `FORCE` makes the tables' owner obey as well.

use annals_model::projection::TableShape;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::answer::sqlstate;
use crate::sinks::shape::{is_of_rows, quoted};

/// Where the registry lies.
pub(super) const SCHEMA: &str = "annals";
/// Set to `on` by connections that write, or read for all tenants; counts for the tables' owner alone.
pub(super) const WRITER_SETTING: &str = "annals.writer";
/// Names the tenant whose rows a transaction may see.
pub(crate) const TENANT_SETTING: &str = "annals.tenant";
/// Members read the stable views.
pub(super) const READONLY: &str = "annals_readonly";
/// Members answer queries.
pub(super) const SERVING: &str = "annals_serving";

/// What a role is to a database.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) role: String,
    /// Row-level security does not bind it.
    pub(super) is_privileged: bool,
    pub(super) may_create_roles: bool,
    /// It may make schemas in the database.
    pub(super) may_create: bool,
    /// Annals was here before.
    pub(super) is_prepared: bool,
    /// The registry is this role's.
    pub(super) is_owner: bool,
}

/// What the connection's role is.
pub(super) async fn standing(connection: &mut PgConnection) -> Result<Standing, sqlx::Error> {
    let row = sqlx::query(
        "SELECT current_user::text, rolsuper OR rolbypassrls, rolcreaterole,
                has_database_privilege(current_database(), 'CREATE'),
                EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'registry'),
                EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'registry'
                        AND pg_has_role(tableowner::name, 'USAGE'))
         FROM pg_roles WHERE rolname = current_user",
    )
    .bind(SCHEMA)
    .fetch_one(connection)
    .await?;
    Ok(Standing {
        role: row.try_get(0)?,
        is_privileged: row.try_get(1)?,
        may_create_roles: row.try_get(2)?,
        may_create: row.try_get(3)?,
        is_prepared: row.try_get(4)?,
        is_owner: row.try_get(5)?,
    })
}

/// Makes the two groups, where they are missing and the role may. Where it may not, nothing but them is missing.
pub(super) async fn make_groups(connection: &mut PgConnection, standing: &Standing) -> Result<(), sqlx::Error> {
    const DUPLICATE_OBJECT: &str = "42710";
    const UNIQUE_VIOLATION: &str = "23505";
    for group in [READONLY, SERVING] {
        if exists(connection, group).await? {
            continue;
        }
        if !standing.may_create_roles {
            tracing::info!(
                role = group,
                "PostgreSQL has no such role; nobody needs it yet; an administrator makes it: CREATE ROLE {group} NOLOGIN"
            );
            continue;
        }
        match run(connection, format!("CREATE ROLE {group} NOLOGIN")).await {
            // Another process was faster, maybe on another database of the server.
            Err(error) if matches!(sqlstate(&error).as_deref(), Some(DUPLICATE_OBJECT | UNIQUE_VIOLATION)) => {}
            made => made?,
        }
    }
    Ok(())
}

async fn exists(connection: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)").bind(role).fetch_one(connection).await
}

/// Binds the tables of a generation to tenants. The role that runs this is their owner, and the only one that may write.
pub(super) async fn secure(
    connection: &mut PgConnection,
    schema: &str,
    tables: &[TableShape],
) -> Result<(), sqlx::Error> {
    let owner: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut *connection).await?;
    let (as_name, as_text) = (quoted(&owner), owner.replace('\'', "''"));
    for shape in tables {
        let table = format!("{}.{}", quoted(schema), quoted(shape.name));
        // The view's reader is the current user in a view as well: nobody borrows the owner's right to write.
        let statements = format!(
            "CREATE POLICY annals_tenant ON {table} FOR SELECT
                 USING (tenant_id = nullif(current_setting('{TENANT_SETTING}', true), '')::uuid);
             CREATE POLICY annals_writer ON {table} TO {as_name}
                 USING (current_setting('{WRITER_SETTING}', true) = 'on' AND current_user = '{as_text}')
                 WITH CHECK (current_setting('{WRITER_SETTING}', true) = 'on' AND current_user = '{as_text}');
             ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
        );
        run(connection, statements).await?;
    }
    Ok(())
}

/// Lets those who serve read a generation, where there is such a role.
pub(super) async fn let_serve(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    if !exists(connection, SERVING).await? {
        return Ok(());
    }
    let schema = quoted(schema);
    let statements = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {SERVING}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {SERVING};"
    );
    run(connection, statements).await
}

/// Lets those who serve say that they live, where there is such a role.
pub(super) async fn let_tell(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if !exists(connection, SERVING).await? {
        return Ok(());
    }
    run(connection, format!("GRANT INSERT, UPDATE, DELETE ON {SCHEMA}.processes TO {SERVING}")).await
}

/// Makes the stable views of a read model show this generation: live rows, without tombstones, and who may read them.
pub(super) async fn put_views(
    connection: &mut PgConnection,
    read_model: &str,
    schema: &str,
    tables: &[TableShape],
) -> Result<(), sqlx::Error> {
    run(connection, format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(read_model))).await?;
    let before: Vec<(String, Vec<String>)> = sqlx::query_as(
        "SELECT relname::text, array_agg(attname::text || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum)
         FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
         WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind = 'v' GROUP BY relname",
    )
    .bind(read_model)
    .fetch_all(&mut *connection)
    .await?;
    for (name, columns) in &before {
        let shape = tables.iter().find(|shape| shape.name == name);
        // A view with other columns cannot be replaced. One with the same is, so that what others built on it stays.
        if shape.is_none_or(|shape| view_columns(shape) != *columns) {
            run(connection, format!("DROP VIEW {}.{}", quoted(read_model), quoted(name))).await?;
        }
    }
    for shape in tables {
        let own = shape.columns.iter().map(|column| column.name);
        let columns: Vec<String> = crate::sinks::shape::KEY.into_iter().chain(own).map(quoted).collect();
        let living = if is_of_rows(shape) { " WHERE NOT deleted" } else { "" };
        let (view, table) = (quoted(read_model), quoted(schema));
        let name = quoted(shape.name);
        let columns = columns.join(", ");
        run(
            connection,
            format!("CREATE OR REPLACE VIEW {view}.{name} AS SELECT {columns} FROM {table}.{name}{living}"),
        )
        .await?;
    }
    let_read(connection, read_model).await
}

fn view_columns(shape: &TableShape) -> Vec<String> {
    let key = crate::sinks::shape::KEY.into_iter().map(|name| format!("{name} uuid"));
    let own = shape.columns.iter().map(|column| {
        let type_name = crate::sinks::shape::type_name(column.column_type);
        format!("{} {}", column.name, if type_name == "timestamptz" { "timestamp with time zone" } else { type_name })
    });
    key.chain(own).collect()
}

/// Lets those who only read see the views of a read model, where there is such a role.
pub(super) async fn let_read(connection: &mut PgConnection, read_model: &str) -> Result<(), sqlx::Error> {
    if !exists(connection, READONLY).await? {
        return Ok(());
    }
    let views = quoted(read_model);
    let statements = format!(
        "GRANT USAGE ON SCHEMA {views} TO {READONLY}; GRANT SELECT ON ALL TABLES IN SCHEMA {views} TO {READONLY};"
    );
    run(connection, statements).await
}

/// Runs statements of the build's own text.
pub(super) async fn run(connection: &mut PgConnection, statements: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(|_| ())
}
