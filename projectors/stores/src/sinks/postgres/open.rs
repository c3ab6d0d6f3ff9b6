//! Why a database cannot be used, said before anything of it is.

use super::access::{self, SERVING, Standing};
use super::answer::{sqlstate, told, within};
use super::connect::{self, Address};
use super::registry::{self, FORMAT, TABLES};
use crate::limits;

/// Why the read models in a database cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is no address of a database: correct it.
    #[error("the address of the read models' database is wrong: {0}; write it as postgres://ROLE@HOST:PORT/DATABASE")]
    Address(String),
    /// The database does not answer now: try again with backoff.
    #[error("{address} cannot be used now: {cause}")]
    Unavailable {
        /// Which database, as whom.
        address: String,
        /// What it said, or what became of the connection.
        cause: String,
    },
    /// The database does not let this role in: do what it says.
    #[error("{address} is refused: {cause}; {remedy}")]
    Refused {
        /// Which database, as whom.
        address: String,
        /// What it said.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// Row-level security does not bind this role, so nothing would keep tenants apart beneath the queries: use another.
    #[error(
        "{address}: this role is a superuser or has BYPASSRLS, so that row-level security does not bind it; use a role \
         of its own: CREATE ROLE annals LOGIN; ALTER DATABASE {database} OWNER TO annals"
    )]
    Privileged {
        /// Which database, as whom.
        address: String,
        /// The database.
        database: String,
    },
    /// The role cannot make schemas: let it.
    #[error(
        "{address}: this role may not make schemas; an administrator must say: GRANT CREATE ON DATABASE {database} TO {role}"
    )]
    MayNotCreate {
        /// Which database, as whom.
        address: String,
        /// The database.
        database: String,
        /// The role.
        role: String,
    },
    /// The database was written by another version of Annals: use that one.
    #[error(
        "{address}: the registry of read models has format {found}, this build reads {FORMAT}; use a build that reads it"
    )]
    OtherFormat {
        /// Which database, as whom.
        address: String,
        /// What is there.
        found: i32,
    },
}

impl OpenError {
    /// True if trying again may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Looks at the database and its role, and makes what is missing.
pub(super) async fn prepare(address: &Address) -> Result<(), OpenError> {
    let error = |error: sqlx::Error| failure(address, &error);
    let mut connection = connect::connect(&address.registry()).await.map_err(error)?;
    let looking = access::standing(&mut connection);
    let standing = within(limits::STORE_ANSWER_MS_MAX, looking).await.map_err(error)?;
    check(address, &standing)?;
    let preparing = async {
        if standing.is_owner || !standing.is_prepared {
            access::make_groups(&mut connection, &standing).await?;
            // One process at a time: making a schema that is there already is an error where two do it at once.
            let statements = format!("BEGIN; SELECT pg_advisory_xact_lock(hashtext('annals registry'), 0); {TABLES}");
            access::run(&mut connection, statements).await?;
            access::let_serve(&mut connection, access::SCHEMA).await?;
            access::let_tell(&mut connection).await?;
            for generation in registry_generations(&mut connection).await? {
                access::let_serve(&mut connection, &generation.0).await?;
                access::let_read(&mut connection, &generation.1).await?;
            }
            access::run(&mut connection, "COMMIT".to_owned()).await?;
        }
        registry::format(&mut connection).await
    };
    let found = within(limits::STORE_ANSWER_MS_MAX, preparing).await.map_err(error)?;
    if found == FORMAT { Ok(()) } else { Err(OpenError::OtherFormat { address: address.to_string(), found }) }
}

/// The schemas of the generations, each with that of its read model's views, as far as they are there.
async fn registry_generations(
    connection: &mut sqlx::postgres::PgConnection,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT rows.nspname::text, views.nspname::text FROM annals.generations
         JOIN pg_namespace AS rows ON rows.nspname = read_model || '_g' || id
         JOIN pg_namespace AS views ON views.nspname = read_model WHERE state <> 'building'",
    )
    .fetch_all(connection)
    .await
}

fn check(address: &Address, standing: &Standing) -> Result<(), OpenError> {
    let database = address.database().to_owned();
    if standing.is_privileged {
        return Err(OpenError::Privileged { address: address.to_string(), database });
    }
    if !standing.may_create && (standing.is_owner || !standing.is_prepared) {
        return Err(OpenError::MayNotCreate { address: address.to_string(), database, role: standing.role.clone() });
    }
    Ok(())
}

fn failure(address: &Address, error: &sqlx::Error) -> OpenError {
    const WRONG_PASSWORD: &str = "28P01";
    const NO_SUCH_ROLE: &str = "28000";
    const NO_SUCH_DATABASE: &str = "3D000";
    const NO_RIGHT: &str = "42501";
    let database = address.database();
    let remedy = match sqlstate(error).as_deref() {
        Some(WRONG_PASSWORD) => "correct the password in the address".to_owned(),
        Some(NO_SUCH_ROLE) => "correct the role in the address, make it, or allow it in pg_hba.conf".to_owned(),
        Some(NO_SUCH_DATABASE) => format!("make the database: CREATE DATABASE {database} OWNER annals"),
        Some(NO_RIGHT) => {
            format!("use the role that owns the read models, or let this one read them: GRANT {SERVING} TO it")
        }
        _ => return OpenError::Unavailable { address: address.to_string(), cause: told(error) },
    };
    OpenError::Refused { address: address.to_string(), cause: told(error), remedy }
}
