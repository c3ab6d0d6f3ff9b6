//! At the end: the whole log and every read model are checked from outside.

use super::Demo;
use super::schema_change::digest;
use super::server::bytes_under;
use annals_cli::output::cell::{bytes, count};

/// Verifies the log and all read models.
pub(super) async fn everything(demo: &mut Demo) -> anyhow::Result<()> {
    demo.stage.heading("Check everything from outside");
    let log = demo.tool.run(&demo.stage, &["log", "verify"]).await?;
    let partitions = log["partitions"].as_array().into_iter().flatten();
    let recorded = partitions.filter_map(|partition| partition["bytes"].as_u64()).sum();
    let events = count(log["events"].as_u64().unwrap_or_default());
    demo.stage.prove(
        "the log is whole: every byte, every ordinal, every sequence, every command complete",
        log["ok"] == true,
        format!(
            "{events} events in {}; {} on disk with all read models",
            bytes(recorded),
            bytes(bytes_under(&demo.data))
        ),
    )?;
    let verified = demo.tool.run(&demo.stage, &["verify"]).await?;
    for read_model in verified.as_array().into_iter().flatten() {
        let name = format!("{} v{}", read_model["read_model"].as_str().unwrap_or("?"), read_model["version"]);
        demo.stage.prove(&format!("{name} equals the log"), read_model["matches"] == true, digest(read_model))?;
    }
    Ok(())
}
