//! The command line as types; the help texts are written here.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use annals_api::auth::{ROLE_AUDITOR, ROLE_OPERATOR};
use annals_model::application::Application;
use annals_model::ids::Actor;
use annals_projectors::deployment::{ApiFlags, DeploymentFlags, Place};
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::Extension;
use crate::actor::actor;
use crate::id::only_id;
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
{examples}  annals up &                           start everything on ./annals-data
  annals command list                   what can be sent
  annals query                          what can be asked
  annals status                         read models, and what to do about them
  annals rebuild {read model}

Exit codes: 0 ok, 1 failed, 2 usage or environment, 3 mismatch or corruption found, 4 conflict or already \
running, 5 partial, 6 timeout, 130 interrupted.";

/// Event-sourced record keeping with read models that can be rebuilt and proved.
#[derive(Debug, Parser)]
#[command(name = "annals", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli<E: Extension> {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command<E>,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub struct GlobalArgs {
    #[command(flatten)]
    pub place: Place,
    /// How results are written to stdout
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, help_heading = "Global options")]
    pub output: Format,
    /// Talk to this server instead of the one of the data directory
    #[arg(long, global = true, value_name = "URL", env = "ANNALS_URL", value_parser = url, help_heading = "Global options")]
    pub url: Option<String>,
    /// Bearer token to send instead of the data directory's own
    #[arg(
        long,
        global = true,
        value_name = "JWT",
        env = "ANNALS_TOKEN",
        hide_env_values = true,
        value_parser = token,
        help_heading = "Global options"
    )]
    pub token: Option<String>,
    /// Certificates that an https:// server may be known by, in PEM, instead of the system's
    #[arg(long, global = true, value_name = "FILE", env = "ANNALS_CA", value_hint = ValueHint::FilePath, help_heading = "Global options")]
    pub ca: Option<PathBuf>,
}

/// What every verb is given.
#[derive(Clone, Debug)]
pub struct Global {
    /// Whose tool this is.
    pub application: Arc<Application>,
    /// What to try first.
    pub first_steps: &'static [&'static str],
    /// What the command line says.
    pub given: GlobalArgs,
}

impl Deref for Global {
    type Target = GlobalArgs;

    fn deref(&self) -> &GlobalArgs {
        &self.given
    }
}

/// The address of a server. An empty one is often a variable that somebody forgot to fill: another server than the one
/// that was meant must not take its place.
fn url(text: &str) -> Result<String, String> {
    match text.trim().trim_end_matches('/') {
        "" => Err("it is empty; name a server, or leave it out (unset ANNALS_URL)".to_owned()),
        url if url.starts_with("http://") || url.starts_with("https://") => Ok(url.to_owned()),
        _ => Err("it begins neither with http:// nor with https://".to_owned()),
    }
}

/// A token, without the line's end that files and pipes put behind it.
fn token(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; give a token, or leave it out (unset ANNALS_TOKEN)".to_owned()),
        token if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token.to_owned()),
        _ => Err("a token has no spaces, and none but plain letters, digits and signs".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub enum Command<E: Extension> {
    /// Run everything in one process: log, engine, read models, HTTP
    Up(UpArgs),
    /// What only this application can do
    #[command(flatten)]
    Own(E::Verb),
    /// Send a file as commands; safe to interrupt and to run again
    Import {
        #[command(subcommand)]
        source: ImportSource<E::Import>,
    },
    /// Make development tokens
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Show where the running server listens, and a token for it
    Endpoint(EndpointArgs),
    /// Send commands, and see which there are
    #[command(name = "command")]
    Send {
        #[command(subcommand)]
        command: SendCommand,
    },
    /// Ask a named query of a read model
    Query(QueryArgs),
    /// Show what happened to one aggregate, event by event
    History(HistoryArgs),
    /// Look at the event log itself
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Show read models: versions, generations, lag, what needs a rebuild and why
    Status,
    /// Show what a rebuild would do; nothing is executed
    Plan(PlanArgs),
    /// Build a read model anew from the log, beside the live one
    Rebuild(RebuildArgs),
    /// Compare a read model, row by row, with an independent fold of the log
    Verify(VerifyArgs),
    /// Make a ready generation the one that is served
    Promote(SwitchArgs),
    /// Serve the generation that was live before
    Rollback(RollbackArgs),
    /// Remove a retired or failed generation, with its rows
    Drop(DropArgs),
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Run a real Kafka or PostgreSQL on this machine, without containers, to try things out
    #[cfg(feature = "dev")]
    Dev {
        #[command(subcommand)]
        command: DevCommand,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  annals completions bash > ~/.local/share/bash-completion/completions/{tool}")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  annals up
  annals up --data ./d --listen 127.0.0.1:8080
  annals up --log kafka --brokers 127.0.0.1:9092 --read-models postgres://annals@127.0.0.1:5432/annals

The first start writes DIR/annals.toml where log or read models are not the default, so that all other commands find \
them by --data DIR alone.")]
pub struct UpArgs {
    #[command(flatten)]
    pub deployment: DeploymentFlags,
    #[command(flatten)]
    pub api: ApiFlags,
    /// Begin a read model that has no generation yet with this version instead of the newest
    #[arg(long, value_name = "NAME=VERSION")]
    pub first_version: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ImportSource<I: Subcommand> {
    /// What only this application can read
    #[command(flatten)]
    Own(I),
    /// A file of commands, one JSON object per line, each with `type` and the fields of a command
    #[command(after_help = "A line:
  {\"type\": \"{command}\", \"payload\": {…}}

with workspace_id where the command is about one; `annals command show {command}` has its fields.

A line without client_request_id gets one from what it says, and from which of the equal lines it is. So the file can be \
sent again, also with lines added, moved, corrected or written otherwise: what was accepted is answered, not repeated. \
A line that says the same as one of another file is the same command, unless the files are of different --series.")]
    Ndjson(NdjsonArgs),
}

#[derive(Debug, Args)]
pub struct NdjsonArgs {
    /// The file; `-` reads stdin
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Name of this import: equal lines of different series are different commands
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub series: String,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token for a tenant and an actor, signed with the data directory's development key
    #[command(after_help = "Examples:\n  annals token mint\n  annals token mint --tenant \
3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7 --actor service:importer --role operator")]
    Mint(MintArgs),
}

#[derive(Debug, Args)]
pub struct MintArgs {
    /// The tenant; the data directory's development tenant unless given
    #[arg(long, value_name = "ID", value_parser = only_id)]
    pub tenant: Option<uuid::Uuid>,
    /// Who acts: `user:ID` or `service:NAME`; the development user unless given
    #[arg(long, value_name = "user:ID|service:NAME", value_parser = actor)]
    pub actor: Option<Actor>,
    /// A role that the token carries; repeat for more
    #[arg(long, value_name = "ROLE", value_parser = [ROLE_OPERATOR, ROLE_AUDITOR])]
    pub role: Vec<String>,
    /// How long it is good for, hours
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8760))]
    pub valid_hours: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  eval \"$(annals endpoint --env)\" && curl -s $ANNALS_URL/v1/commands -H \"Authorization: Bearer $ANNALS_TOKEN\"

`annals` itself obeys these variables, wherever it is called: unset them to go back to the server of --data.")]
pub struct EndpointArgs {
    /// As the lines of a shell that set ANNALS_URL and ANNALS_TOKEN
    #[arg(long)]
    pub env: bool,
}

#[derive(Debug, Subcommand)]
pub enum SendCommand {
    /// Send one command and show its answer
    #[command(after_help = "Examples:
  annals command send {command}{sent in} --payload @payload.json --reason 'first of all'
  annals command send TYPE{sent in} --id ID --expected-version 1 --payload @change.json")]
    Send(SendArgs),
    /// List the commands there are
    #[command(after_help = "Example:\n  annals command list")]
    List,
    /// Show what a command takes: its fields, their types, which are needed
    #[command(after_help = "Example:\n  annals command show {command}")]
    Show {
        /// context.aggregate.command
        #[arg(value_name = "TYPE")]
        command_type: String,
    },
}

#[derive(Debug, Args)]
pub struct SendArgs {
    /// context.aggregate.command
    #[arg(value_name = "TYPE")]
    pub command_type: String,
    /// The payload: JSON, `@FILE`, or `-` for stdin
    #[arg(short, long, value_name = "JSON|@FILE|-", default_value = "{}")]
    pub payload: String,
    /// The workspace, by id or slug
    #[arg(short, long, value_name = "ID|SLUG")]
    pub workspace: Option<String>,
    /// The aggregate, by id, or by name where a query finds it. A new one gets an id from the request when none is given
    #[arg(long, value_name = "ID|NAME")]
    pub id: Option<String>,
    /// Refuse unless the aggregate has this version
    #[arg(long, value_name = "N")]
    pub expected_version: Option<u64>,
    /// Name of this request: sent again under the same name it is answered, not repeated; random unless given
    #[arg(long, value_name = "TEXT")]
    pub request_id: Option<String>,
    /// Why, in words
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The decision record that it follows
    #[arg(long, value_name = "ID")]
    pub adr: Option<String>,
    /// Groups everything that one request sets in motion
    #[arg(long, value_name = "ID", value_parser = only_id)]
    pub correlation: Option<uuid::Uuid>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  annals query                                            the queries there are
  annals query {query}{asked in} --limit 20
  annals query {query}{asked in} --param KEY=VALUE -o jsonl --all")]
pub struct QueryArgs {
    /// Its name; without one, all queries are listed
    pub name: Option<String>,
    /// A parameter; repeat for more
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub param: Vec<String>,
    /// The workspace, by id or slug
    #[arg(short, long, value_name = "ID|SLUG")]
    pub workspace: Option<String>,
    /// Follow the pages to the end
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    pub all: bool,
    /// Rows of the page, at most 500
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: Option<u32>,
    /// Where the page before ended
    #[arg(long)]
    pub cursor: Option<String>,
    /// Wait until the read model shows what this token stands for
    #[arg(long, value_name = "TOKEN")]
    pub consistency_token: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  annals history {aggregate} ID{sent in}")]
pub struct HistoryArgs {
    /// context.aggregate
    #[arg(value_name = "TYPE")]
    pub aggregate_type: String,
    /// The aggregate, by id, or by name where a query finds it
    #[arg(value_name = "ID|NAME")]
    pub id: String,
    /// The workspace, by id or slug
    #[arg(short, long, value_name = "ID|SLUG")]
    pub workspace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Check every record: bytes, order, whole commits, sequences; exit 3 names the first damage
    Verify,
    /// Count events by context and type
    Stats,
    /// Make a whole copy of a log in a file, beside a server that writes it, and verify the copy
    #[command(after_help = "Example:
  annals log backup /backups/2026-07-01

The folder also gets what belongs to the log: annals.toml, development.json, signing.key. Read models are built anew.")]
    Backup(BackupArgs),
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// A folder that is not there yet, or is empty
    #[arg(value_name = "TO", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every value and who says so: the file, the environment or a default
    Show,
}

#[cfg(feature = "dev")]
#[derive(Debug, Subcommand)]
pub enum DevCommand {
    /// Apache Kafka, until Ctrl-C; needs Java 17 and, the first time, Maven
    #[command(after_help = "Example:\n  annals dev kafka --brokers 3")]
    Kafka(DevKafkaArgs),
    /// PostgreSQL, until Ctrl-C; needs its programs
    Postgres,
}

#[cfg(feature = "dev")]
#[derive(Debug, Args)]
pub struct DevKafkaArgs {
    /// How many brokers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub brokers: u8,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The read model
    pub name: String,
    /// The version to build; the newest unless given
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  annals rebuild {read model} --yes --reason 'a column more' && annals verify {read model} --generation 2"
)]
pub struct RebuildArgs {
    /// The read model
    pub name: String,
    /// The version to build; the newest unless given
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Memory that rows may take while folding, MiB; above it the fold goes over the log once per part of the keys
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub memory: Option<u32>,
    /// Read at most this many events per second
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub throttle: Option<u32>,
    /// Why, kept with the generation
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The read models; all unless given
    pub names: Vec<String>,
    /// This generation instead of the live one
    #[arg(long, value_name = "N")]
    pub generation: Option<u32>,
}

#[derive(Debug, Args)]
pub struct SwitchArgs {
    /// The read model
    pub name: String,
    /// This generation instead of the newest ready one
    #[arg(long, value_name = "N")]
    pub generation: Option<u32>,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The read model
    pub name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  annals drop {read model} --generation 1

Behind a promotion the oldest go by themselves: read_models.keep in the configuration says how many retired ones stay.")]
pub struct DropArgs {
    /// The read model
    pub name: String,
    /// The generation
    #[arg(long, value_name = "N")]
    pub generation: u32,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[cfg(test)]
mod tests;
