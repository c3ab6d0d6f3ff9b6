//! `annals`: the operator's and auditor's tool.

use std::process::ExitCode;

use annals_projectors::process::arguments::{arguments, print};
use annals_projectors::process::end;
use clap::CommandFactory;

mod actor;
mod cli;
mod client;
mod config;
mod data_dir;
mod demo;
#[cfg(feature = "dev")]
mod dev;
mod endpoint;
mod exit;
mod failure;
mod import;
mod input;
mod limits;
mod log_tools;
mod operate;
mod output;
mod progress;
mod talk;
mod token;
mod up;

use cli::{Cli, Command, ConfigCommand, ImportSource, LogCommand, SendCommand, TokenCommand};
use exit::{Exit, report};
use output::Output;

fn main() -> ExitCode {
    let cli = match arguments::<Cli>() {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    annals_projectors::process::log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(report(&anyhow::Error::from(error))),
    };
    end(runtime.block_on(run(cli)).unwrap_or_else(|error| report(&error)))
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let global = &cli.global;
    let output = Output::new(global.output);
    match &cli.command {
        Command::Import { source: ImportSource::CargoLock(args) } => {
            talk::import::cargo_lock(global, output, args).await
        }
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
            clap_complete::generate(*shell, &mut Cli::command(), "annals", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Ok)
        }
        Command::Up(args) => up::run(global, args).await,
        Command::Demo(args) => demo::run(output, args).await,
        Command::Token { command: TokenCommand::Mint(args) } => token::mint(global, output, args),
        Command::Endpoint(args) => endpoint::show(global, output, args),
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
