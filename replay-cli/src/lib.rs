//! The operator's and auditor's tool, for any application: every verb of it as a library. An application's own binary says
//! which one it is, and what it can do besides ([`Extension`]).

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use annals_model::application::Application;
use annals_projectors::process::arguments::{arguments_of, print};
use annals_projectors::process::{self, tool};
use clap::Subcommand;

mod actor;
pub mod cli;
pub mod client;
mod config;
mod data_dir;
#[cfg(feature = "dev")]
mod dev;
mod endpoint;
pub mod exit;
mod failure;
mod help;
pub mod id;
pub mod import;
pub mod input;
pub mod limits;
mod log_tools;
mod operate;
pub mod output;
pub mod progress;
pub mod talk;
mod token;
mod up;

use cli::{Cli, Command, ConfigCommand, Global, ImportSource, LogCommand, SendCommand, TokenCommand};
use exit::Exit;
use output::Output;

/// What an application's tool can do besides what all of them can.
pub trait Extension: fmt::Debug + Sized {
    /// Verbs of its own.
    type Verb: Subcommand + fmt::Debug;
    /// What it imports besides lines of commands.
    type Import: Subcommand + fmt::Debug;
    /// What its help begins its examples with, line by line.
    const EXAMPLES: &'static str = "";
    /// What to try on a server that has just started, without the tool's name.
    const FIRST_STEPS: &'static [&'static str] = &["command list", "query", "status"];

    /// Runs a verb of its own.
    fn run(global: &Global, output: Output, verb: &Self::Verb) -> impl Future<Output = anyhow::Result<Exit>>;
    /// Imports what only it can read.
    fn import(global: &Global, output: Output, source: &Self::Import) -> impl Future<Output = anyhow::Result<Exit>>;
}

/// Nothing besides.
#[derive(Debug)]
pub enum Plain {}

impl Extension for Plain {
    type Verb = std::convert::Infallible;
    type Import = std::convert::Infallible;

    async fn run(_: &Global, _: Output, verb: &Self::Verb) -> anyhow::Result<Exit> {
        match *verb {}
    }

    async fn import(_: &Global, _: Output, source: &Self::Import) -> anyhow::Result<Exit> {
        match *source {}
    }
}

/// The whole tool of an application.
pub fn main(application: Application) -> ExitCode {
    main_with::<Plain>(application)
}

/// The same with verbs of its own.
pub fn main_with<E: Extension>(application: Application) -> ExitCode {
    tool::is(application.name);
    let cli = match arguments_of::<Cli<E>>(help::command::<E>(&application)) {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    let Cli { global, command } = cli;
    let global = Global { application: Arc::new(application), first_steps: E::FIRST_STEPS, given: global };
    process::run(run::<E>(&global, &command))
}

async fn run<E: Extension>(global: &Global, command: &Command<E>) -> anyhow::Result<Exit> {
    let output = Output::new(global.output);
    match command {
        Command::Own(verb) => E::run(global, output, verb).await,
        Command::Import { source: ImportSource::Own(source) } => E::import(global, output, source).await,
        Command::Import { source: ImportSource::Ndjson(args) } => talk::import::ndjson(global, output, args).await,
        Command::Send { command: SendCommand::Send(args) } => talk::send(global, output, args).await,
        Command::Send { command: SendCommand::List } => talk::commands::list(global, output).await,
        Command::Send { command: SendCommand::Show { command_type } } => {
            talk::commands::show(global, output, command_type).await
        }
        Command::Query(args) => talk::query::run(global, output, args).await,
        Command::History(args) => talk::history(global, output, args).await,
        Command::Completions { shell } => {
            // Into memory first: the generator panics where it cannot write.
            let mut script = Vec::new();
            let mut command = help::command::<E>(&global.application);
            clap_complete::generate(*shell, &mut command, global.application.name, &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Ok)
        }
        Command::Up(args) => up::run(global, args).await,
        Command::Endpoint(args) => endpoint::show(global, output, args),
        Command::Token { command: TokenCommand::Mint(args) } => token::mint(global, output, args),
        Command::Log { command: LogCommand::Verify } => log_tools::verify_log(global, output).await,
        Command::Log { command: LogCommand::Backup(args) } => log_tools::backup::run(global, output, args).await,
        Command::Log { command: LogCommand::Stats } => log_tools::log_stats(global, output).await,
        Command::Config { command: ConfigCommand::Show } => config::show(global, output),
        #[cfg(feature = "dev")]
        Command::Dev { command } => dev::run(command).await,
        Command::Status => operate::status::run(global, output).await,
        Command::Plan(args) => operate::plan::run(global, output, args).await,
        Command::Rebuild(args) => operate::rebuild::run(global, output, args).await,
        Command::Verify(args) => operate::verify::run(global, output, args).await,
        Command::Promote(args) => operate::switch::promote(global, output, args).await,
        Command::Rollback(args) => operate::switch::rollback(global, output, args).await,
        Command::Drop(args) => operate::removal::run(global, output, args).await,
    }
}
