//! `annals`: the tool of the platform: the verbs that every application has, its import of lock files, and the demo.

mod cargo_lock;
mod demo;
mod import;
mod limits;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use annals_cli::Extension;
use annals_cli::cli::Global;
use annals_cli::exit::Exit;
use annals_cli::id::only_id;
use annals_cli::output::Output;
use clap::{Args, Subcommand, ValueHint};

fn main() -> ExitCode {
    annals_cli::main_with::<Platform>(annals_platform::application())
}

/// What the platform's tool can do besides.
#[derive(Debug)]
enum Platform {}

impl Extension for Platform {
    type Verb = Verb;
    type Import = Import;
    const EXAMPLES: &'static str = concat!(
        "  annals demo                           the guided tour, on real input\n",
        "  annals import cargo-lock Cargo.lock   a real inventory as commands\n",
    );
    const FIRST_STEPS: &'static [&'static str] =
        &["import cargo-lock Cargo.lock", "query portfolio.applications --workspace inventory", "status"];

    async fn run(_: &Global, output: Output, Verb::Demo(args): &Verb) -> anyhow::Result<Exit> {
        demo::run(output, args).await
    }

    async fn import(global: &Global, output: Output, Import::CargoLock(args): &Import) -> anyhow::Result<Exit> {
        import::run(global, output, args).await
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the whole thing at work, on real input, with real processes
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
enum Import {
    /// A Cargo.lock: packages become applications, versions releases, dependencies edges
    #[command(after_help = "\
Example:
  annals import cargo-lock Cargo.lock --workspace-slug my-service

Brings the workspace to what the file says: registers, releases and declares what is missing, withdraws dependencies \
and retires applications that an import made and the file does not have any more, and says what it changed. Releases \
stay: they were made. What no import made is left alone. So two lock files need two workspaces, or --add-only.")]
    CargoLock(CargoLockArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave the server running and print where it is
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CargoLockArgs {
    /// The lock file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) workspace: TargetWorkspace,
    /// Only add: compare nothing, take nothing away, bring nothing back
    #[arg(long)]
    pub(crate) add_only: bool,
    /// Only say what would be done
    #[arg(long, conflicts_with = "add_only")]
    pub(crate) dry_run: bool,
}

/// Where an import goes.
#[derive(Clone, Debug, Args)]
pub(crate) struct TargetWorkspace {
    /// Into this existing workspace, by id
    #[arg(long, value_name = "ID", conflicts_with = "workspace_slug", value_parser = only_id)]
    pub(crate) workspace: Option<uuid::Uuid>,
    /// Into the workspace with this slug, created when missing
    #[arg(long, value_name = "SLUG", default_value = "inventory")]
    pub(crate) workspace_slug: String,
}
