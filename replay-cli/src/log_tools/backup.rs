//! `log backup`: a whole copy of what a log in a file needs, made beside a server that writes it, and verified.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use annals_engine::log::sqlite::backup;
use annals_engine::log::verify::{VerifyReport, verify};
use annals_model::position::Offset;
use annals_projectors::deployment::{FILE, LogSettings};
use annals_projectors::process::say;
use serde_json::json;

use super::known;
use crate::cli::{BackupArgs, Global};
use crate::data_dir::{existing, read_log};
use crate::exit::{Exit, Failure};
use crate::failure::read_failure;
use crate::output::cell::count;
use crate::output::{Output, render_pairs};
use crate::progress::Progress;

/// What else of the directory belongs to the log: the configuration, whose the data is, and what tokens are signed with.
const BESIDE: [&str; 4] = [FILE, "development.json", "signing.key", annals_api::data_dir::SERVED];

/// `log backup`.
pub(crate) async fn run(global: &Global, output: Output, args: &BackupArgs) -> anyhow::Result<Exit> {
    let deployment = existing(global)?;
    if !matches!(deployment.log, LogSettings::Sqlite { .. }) {
        return Err(Failure::usage("the log is on Kafka: there is no file to copy")
            .remedy("its topics are replicated; mirror them, or back the brokers up")
            .into());
    }
    make_room(&args.to)?;
    let copy = args.to.join("log.db");
    backup(&deployment.log_path(), &copy).await.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let beside = copy_beside(&deployment.data, &args.to)?;
    // A copy that nobody has read is none.
    let (contexts, known) = known(&global.application);
    let mut there = deployment.clone();
    there.data.clone_from(&args.to);
    let copied = read_log(global, &there).await?;
    let log = copied.shared();
    let progress = Progress::start("log backup", "records", None);
    let report = verify(&*log, &contexts, &known, &mut |at| progress.set(at.records)).await;
    progress.clear();
    let report = report.map_err(|error| read_failure(&error))?;
    tell(output, &args.to, &beside, &report, &position(&report))?;
    copied.close().await;
    if report.is_sound() {
        return Ok(Exit::Ok);
    }
    say!("error: the log is damaged, and the copy is as it is");
    say!("  → `annals log verify` names what is wrong; restore from an older backup");
    Ok(Exit::Mismatch)
}

/// A folder of its own: nothing that is there is written to.
fn make_room(to: &Path) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| Failure::usage(format!("{} cannot be made: {error}", to.display()));
    match fs::DirBuilder::new().mode(0o700).create(to) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.map_err(unusable),
    }
    let is_empty = fs::read_dir(to).map_err(unusable)?.next().is_none();
    match is_empty {
        true => Ok(()),
        false => Err(Failure::new(Exit::Conflict, format!("{} is not empty: nothing is overwritten", to.display()))
            .remedy("name a folder that is not there yet")),
    }
}

/// Copies the small files that belong to a log; their names.
fn copy_beside(from: &Path, to: &Path) -> Result<Vec<&'static str>, Failure> {
    let mut copied = Vec::new();
    for name in BESIDE {
        let bytes = match fs::read(from.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?,
        };
        let written =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to.join(name)).and_then(|mut file| {
                std::io::Write::write_all(&mut file, &bytes)?;
                file.sync_all()
            });
        written.map_err(|error| Failure::new(Exit::Failed, format!("{name} cannot be copied: {error}")))?;
        copied.push(name);
    }
    let flushed = fs::File::open(to).and_then(|folder| folder.sync_all());
    flushed.map_err(|error| Failure::new(Exit::Failed, format!("{} cannot be flushed: {error}", to.display())))?;
    Ok(copied)
}

/// Where the copy ends, partition by partition: whoever has a newer event of one knows that it is not in it.
fn position(report: &VerifyReport) -> String {
    let written = report.partitions.iter().filter(|partition| partition.end > Offset::START);
    written.map(|partition| format!("{} {}", partition.at, partition.end)).collect::<Vec<_>>().join(", ")
}

fn tell(output: Output, to: &Path, beside: &[&str], report: &VerifyReport, position: &str) -> anyhow::Result<()> {
    let events: u64 = report.partitions.iter().map(|partition| partition.events).sum();
    let digests: Vec<_> = report.partitions.iter().map(super::partition).collect();
    let digest = super::digest_of_all(report);
    let document = json!({
        "to": to.display().to_string(), "ok": report.is_sound(), "events": events, "position": position,
        "digest": digest, "partitions": digests, "beside": beside,
    });
    output.document(&document, || {
        render_pairs(&[
            ("copy", to.display().to_string()),
            ("with it", beside.join(", ")),
            ("events", count(events)),
            ("position", position.to_owned()),
            ("digest", digest.clone()),
        ])
    })?;
    Ok(())
}
