//! Version 2 of a read model: planned, rebuilt beside the live one while writes go on, verified, promoted, and back.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::writer::Writer;
use super::{Demo, FIRST_WORKSPACE, body};
use crate::limits;
use annals_cli::exit::Failure;
use annals_cli::import::ids::derive;
use annals_cli::output::cell::count;
use annals_cli::progress::rate;

/// The read model that changes.
const NAME: &str = "portfolio";
/// The column that version 2 has and version 1 has not.
const NEW_COLUMN: &str = "release_count";

/// The whole schema change.
pub(super) async fn run(demo: &mut Demo) -> anyhow::Result<()> {
    demo.stage.heading("Change a read model's schema while writes go on");
    demo.stage.say(&format!("version 2 of {NAME} has one column more: {NEW_COLUMN}"));
    let before = served(demo).await?;
    demo.stage.prove(
        "version 1 is served, without the column",
        before.version == 1 && !before.has_column,
        format!("generation {}", before.generation),
    )?;
    let plan = demo.tool.run(&demo.stage, &["plan", NAME, "--version", "2"]).await?;
    demo.stage.say(&format!(
        "{}; it would read {} events ({}); nothing is executed",
        plan["why"].as_str().unwrap_or_default(),
        count(plan["events"].as_u64().unwrap_or_default()),
        annals_cli::output::cell::bytes(plan["bytes"].as_u64().unwrap_or_default()),
    ));

    let application = derive(&["demo", "busy application"]);
    let register = body("demo register", demo.workspace, application, &json!({"name": "busy-application"}));
    demo.server.client.command("portfolio.application.register", &register).await.map_err(Failure::from)?;
    let writer = Writer::start(demo.server.client.clone(), demo.workspace, application);
    demo.stage.say("a writer begins to release versions, and reads them back");
    let started = Instant::now();
    let target = rebuild(demo).await?;
    back_and_forth(demo, &before, &target).await?;
    let written = writer.stop().await?;
    let per_second = rate(written.commands, started.elapsed());
    demo.stage.prove(
        "writes went on all the while, and each one read back by its token was there",
        written.commands > 0 && written.read_back > 0 && written.missing == 0,
        format!(
            "{} writes ({} per second, slowest {} ms), {} read back, {} missing",
            count(written.commands),
            count(per_second),
            written.slowest.as_millis(),
            count(written.read_back),
            written.missing,
        ),
    )?;
    releases_are_counted(demo, application, written.commands).await
}

/// Rebuilds version 2 beside the live generation and verifies it there; gives its generation.
async fn rebuild(demo: &mut Demo) -> anyhow::Result<String> {
    let arguments = ["rebuild", NAME, "--version", "2", "--yes", "--reason", "count the releases"];
    let built = demo.tool.run(&demo.stage, &arguments).await?;
    let generation = built["generation"].as_u64().context("a rebuild without a generation")?.to_string();
    let events = built["events"].as_u64().unwrap_or_default();
    let per_second = built["events_per_second"].as_f64().unwrap_or_default() as u64;
    demo.stage.prove(
        "version 2 is rebuilt beside the live generation",
        built["state"] == "ready" && served(demo).await?.version == 1,
        format!(
            "{} events folded, {} per second, {} rows",
            count(events),
            count(per_second),
            count(built["rows"].as_u64().unwrap_or_default())
        ),
    )?;
    let status = demo.tool.run(&demo.stage, &["status"]).await?;
    let generations = status["generations"].as_array().cloned().unwrap_or_default();
    demo.stage.table(
        &generations,
        &[
            ("read model", "/read_model"),
            ("version", "/version"),
            ("generation", "/generation"),
            ("state", "/state"),
            ("lag events", "/lag_events"),
            ("reason", "/reason"),
        ],
    );
    let verified = demo.tool.run(&demo.stage, &["verify", NAME, "--generation", &generation]).await?;
    let verified = verified.get(0).cloned().unwrap_or_default();
    demo.stage.prove(
        "the new generation equals an independent fold of the log, row by row",
        verified["matches"] == true,
        digest(&verified),
    )?;
    Ok(generation)
}

/// Promotes, shows the column, rolls back, promotes again.
async fn back_and_forth(demo: &mut Demo, before: &Served, target: &str) -> anyhow::Result<()> {
    demo.tool.run(&demo.stage, &["promote", NAME, "--generation", target]).await?;
    let now = switched(demo, 2).await?;
    demo.stage.command(&format!("annals query portfolio.applications --workspace {FIRST_WORKSPACE} --limit 5"));
    demo.stage.table(
        &now.rows,
        &[
            ("name", "/name"),
            ("latest release", "/latest_release"),
            ("release count", "/release_count"),
            ("status", "/status"),
        ],
    );
    demo.stage.prove(
        "promoted: queries are served from version 2, with the new column",
        now.has_column,
        format!("generation {} instead of {}", now.generation, before.generation),
    )?;
    demo.tool.run(&demo.stage, &["rollback", NAME]).await?;
    let now = switched(demo, 1).await?;
    demo.stage.prove(
        "rolled back: version 1 is served again, and it had been kept current",
        !now.has_column && now.generation == before.generation,
        format!("generation {}", now.generation),
    )?;
    demo.tool.run(&demo.stage, &["promote", NAME, "--generation", target]).await?;
    let now = switched(demo, 2).await?;
    demo.stage.prove("promoted again", now.has_column, format!("generation {}", now.generation))?;
    Ok(())
}

/// The new column counts the writer's releases, each once.
async fn releases_are_counted(demo: &mut Demo, application: uuid::Uuid, commands: u64) -> anyhow::Result<()> {
    let path = format!("/v1/aggregates/portfolio.application/{application}");
    let parameters = [("workspace_id", demo.workspace.to_string())];
    let view = demo.server.client.get(&path, &parameters).await.map_err(Failure::from)?;
    let token = view["consistency_token"].as_str().context("an aggregate without a consistency token")?;
    let rows = demo.rows("portfolio.applications", demo.workspace, &[("name", "busy-application")], token).await?;
    let counted = rows.first().and_then(|row| row[NEW_COLUMN].as_u64());
    demo.stage.prove(
        "the new column has counted every release written meanwhile, each once",
        rows.len() == 1 && counted == Some(commands),
        format!("{} of {}", counted.map_or_else(|| "nothing".to_owned(), count), count(commands)),
    )?;
    Ok(())
}

/// What queries are answered from.
struct Served {
    version: u64,
    generation: u64,
    has_column: bool,
    rows: Vec<Value>,
}

async fn served(demo: &Demo) -> anyhow::Result<Served> {
    let parameters = [("workspace_id", demo.workspace.to_string()), ("limit", "5".to_owned())];
    let page =
        demo.server.client.get("/v1/queries/portfolio.applications", &parameters).await.map_err(Failure::from)?;
    let rows = page["rows"].as_array().cloned().unwrap_or_default();
    Ok(Served {
        version: page["version"].as_u64().context("an answer without the read model's version")?,
        generation: page["generation"].as_u64().context("an answer without its generation")?,
        has_column: rows.iter().all(|row| row.get(NEW_COLUMN).is_some()) && !rows.is_empty(),
        rows,
    })
}

/// Waits until queries are served from a version.
async fn switched(demo: &Demo, version: u64) -> anyhow::Result<Served> {
    let deadline = Instant::now() + Duration::from_secs(limits::SWITCH_SECS);
    loop {
        let now = served(demo).await?;
        if now.version == version || Instant::now() > deadline {
            anyhow::ensure!(now.version == version, "queries are still served from version {}", now.version);
            return Ok(now);
        }
        sleep(Duration::from_millis(limits::SERVER_POLL_MS)).await;
    }
}

/// A verification's digest, short, and how much it stands for.
pub(super) fn digest(verified: &Value) -> String {
    let digest = verified["digest"].as_str().unwrap_or_default();
    let short = digest.get(..16).unwrap_or(digest);
    format!("{} rows, digest {short}…", count(verified["rows"].as_u64().unwrap_or_default()))
}
