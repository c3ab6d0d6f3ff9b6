//! `import cargo-lock`: a lock file, the server, and what is said of it before and behind.

use std::time::{SystemTime, UNIX_EPOCH};

use annals_cli::cli::Global;
use annals_cli::client::Client;
use annals_cli::exit::Exit;
use annals_cli::import::ids::Life;
use annals_cli::import::{self, CommandLine};
use annals_cli::output::cell::count;
use annals_cli::output::{Output, render_pairs};
use annals_projectors::process::say;
use serde_json::json;

use crate::CargoLockArgs;
use crate::cargo_lock::Inventory;
use crate::cargo_lock::plan::Plan;
use crate::{limits, target};

/// `import cargo-lock`.
pub(crate) async fn run(global: &Global, output: Output, args: &CargoLockArgs) -> anyhow::Result<Exit> {
    let inventory = Inventory::read(&args.file)?;
    let client = Client::find(global)?;
    let workspace = target::resolve(&client, &args.workspace).await?;
    let mut extra = said(args, &inventory);
    if args.add_only {
        let mut lines = inventory.commands(workspace).map(|line| Ok(line.into()));
        let total = inventory.counts().commands();
        return import::run(&client, output, "import cargo-lock", Some(total), &mut lines, &extra).await;
    }
    let plan = Plan::make(&client, &inventory, workspace, life()).await?;
    show(&plan);
    extra.push(("unchanged", plan.unchanged));
    extra.push(("still_needed", plan.still_needed.len() as u64));
    extra.push(("of_others", plan.of_others));
    if args.dry_run {
        extra.extend(plan.changes());
        let document = extra.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let pairs: Vec<(&str, String)> = extra.iter().map(|(name, value)| (*name, count(*value))).collect();
        output.document(&serde_json::Value::Object(document), || render_pairs(&pairs))?;
        return Ok(Exit::Ok);
    }
    let total = plan.lines.len() as u64;
    let mut lines = plan.lines.into_iter().map(|line| Ok(line.into()));
    import::run(&client, output, "import cargo-lock", Some(total), &mut lines, &extra).await
}

/// Says what the file holds; the same as numbers.
fn said(args: &CargoLockArgs, inventory: &Inventory) -> Vec<(&'static str, u64)> {
    let counts = inventory.counts();
    say!(
        "{}: {} applications, {} releases, {} dependencies\n  \
         {} edges merged by name, {} between versions of one package left out",
        args.file.display(),
        count(counts.applications),
        count(counts.releases),
        count(counts.edges),
        count(inventory.edges_merged),
        count(inventory.edges_to_itself),
    );
    vec![
        ("applications", counts.applications),
        ("releases", counts.releases),
        ("edges", counts.edges),
        ("edges_merged", inventory.edges_merged),
        ("edges_to_itself", inventory.edges_to_itself),
    ]
}

/// Says what will be done, and by name what will be taken away.
fn show(plan: &Plan) {
    let changes = plan.changes().into_iter().filter(|(_, number)| *number > 0);
    let changes: Vec<String> = changes.map(|(change, number)| format!("{} {change}", count(number))).collect();
    let changes = if changes.is_empty() { "nothing to do".to_owned() } else { changes.join(", ") };
    say!("plan: {changes}; {} are as the file says", count(plan.unchanged));
    for (change, words) in [("withdrawn", "withdraw"), ("retired", "retire")] {
        some(words, plan.of_change(change).map(|line: &CommandLine| line.label.as_str()));
    }
    some("kept, for others than imports need it:", plan.still_needed.iter().map(String::as_str));
    if plan.of_others > 0 {
        say!("  left alone: {} that the file does not have and no import made", count(plan.of_others));
    }
}

/// Names the first of them, and how many more there are.
fn some<'a>(words: &str, mut names: impl Iterator<Item = &'a str>) {
    for name in names.by_ref().take(limits::TAKEN_AWAY_SHOWN_MAX) {
        say!("  {words} {name}");
    }
    let more = names.count() as u64;
    if more > 0 {
        say!("  … and {} more", count(more));
    }
}

/// The life of what comes back in this run.
fn life() -> Life {
    // A clock before 1970 gives all that come back in such runs one life; a second one is refused then.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Life::at_ms(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
