//! The operator's commands. They work on log and store themselves, whether a server runs or not: locks, registry and
//! checkpoints lie there.

use std::io::{IsTerminal as _, stdin};
use std::sync::{Arc, OnceLock};

use annals_engine::generations::keep::Keep;
use annals_engine::log::EventLog;
use annals_engine::rebuild::control::Control;
use annals_engine::sink::{Generation, GenerationId};
use annals_model::application::Application;
use annals_model::projection::ReadModel;
use annals_projectors::process::{say, stop};
use annals_stores::sinks::Store;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::Global;
use crate::data_dir::{existing, read_log, read_models};
use crate::exit::{Exit, Failure};
use crate::failure::store_failure;
use crate::progress::Progress;

pub(crate) mod plan;
pub(crate) mod rebuild;
pub(crate) mod removal;
pub(crate) mod status;
pub(crate) mod switch;
pub(crate) mod verify;

/// A data directory opened by an operator.
#[derive(Debug)]
pub(crate) struct Site {
    application: Arc<Application>,
    log: Arc<dyn EventLog>,
    store: Store,
    /// How many retired generations stay behind a promotion.
    keep: Keep,
}

impl Site {
    /// Opens the deployment's log to read it, and its read models.
    pub(crate) async fn open(global: &Global) -> anyhow::Result<Self> {
        let deployment = existing(global)?;
        let log = read_log(global, &deployment).await?.shared();
        let store = read_models(global, &deployment, log.id()).await?;
        Ok(Self { application: global.application.clone(), log, store, keep: deployment.keep })
    }

    fn shared_log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    /// Names of the read models, in the order in which this build defines them.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.store.read_models().iter().map(|model| model.name()).collect();
        names.dedup();
        names
    }

    /// The definition of a read model in this version; in the newest one unless given.
    fn read_model(&self, name: &str, version: Option<u32>) -> Result<Arc<ReadModel>, Failure> {
        let of_name = || self.store.read_models().iter().filter(|model| model.name() == name);
        if of_name().next().is_none() {
            return Err(Failure::usage(format!("there is no read model {name:?}"))
                .remedy(format!("there are {}", self.names().join(", "))));
        }
        let found = match version {
            Some(version) => of_name().find(|model| model.version() == version),
            None => of_name().max_by_key(|model| model.version()),
        };
        found.cloned().ok_or_else(|| {
            let versions: Vec<String> = of_name().map(|model| model.version().to_string()).collect();
            Failure::usage(format!("this build does not carry version {} of {name}", version.unwrap_or_default()))
                .remedy(format!("it carries {}", versions.join(", ")))
        })
    }

    /// A generation by number; the live one unless given.
    async fn generation(&self, name: &str, id: Option<u32>) -> anyhow::Result<Generation> {
        self.read_model(name, None)?;
        if let Some(id) = id {
            return self.store.generation(name, GenerationId(id)).await.map_err(|error| store_failure(&error).into());
        }
        let live = self.store.live(name).await.map_err(|error| store_failure(&error))?;
        live.ok_or_else(|| {
            Failure::new(Exit::Failed, format!("{name} has no live generation"))
                .remedy(format!("start a server once, or `annals rebuild {name}` and `annals promote {name}`"))
                .into()
        })
    }
}

/// A generation as JSON.
pub(crate) fn generation_json(generation: &Generation) -> Value {
    json!({
        "read_model": generation.read_model,
        "version": generation.version,
        "generation": generation.id,
        "state": generation.state,
        "started_at": generation.started_at.to_string(),
        "finished_at": generation.finished_at.map(|at| at.to_string()),
        "retired_at": generation.retired_at.map(|at| at.to_string()),
        "verified_digest": generation.verified_digest,
        "mismatch": generation.mismatch,
        "reason": generation.reason,
        "failure": generation.failure,
    })
}

/// Asks on a terminal; elsewhere there is nobody to ask.
fn confirmed(what: &str, question: &str) -> Result<bool, Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::usage(format!("{what} must be confirmed, and stdin is no terminal")).remedy("say --yes"));
    }
    say::text(&format!("{question} [y/N] "));
    say::flush();
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer).unwrap_or_default();
    Ok(read > 0 && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Watches a long operation: a progress bar, and Ctrl-C asks it to stop; a second one ends the process.
#[derive(Debug)]
struct Watch {
    follower: JoinHandle<()>,
    interrupt: JoinHandle<()>,
}

impl Watch {
    fn start(title: &str, control: &Control) -> Self {
        let mut changes = control.progress();
        let title = title.to_owned();
        let follower = tokio::spawn(async move {
            let bar = Progress::start(&title, "events", None);
            // Ends by being aborted, or with the operation's last hold on its control.
            while changes.changed().await.is_ok() {
                let now = *changes.borrow_and_update();
                bar.enter(stage_name(now.stage));
                if now.events_total > 0 {
                    bar.set_total(now.events_total);
                }
                bar.set(now.events_done);
            }
        });
        let control = control.clone();
        let stop = interruption();
        let interrupt = tokio::spawn(async move {
            stop.cancelled().await;
            control.cancel();
        });
        Self { follower, interrupt }
    }
}

/// Cancelled by the first Ctrl-C of this process, for one operation after the other. Rows and indexes are written to
/// their end: who will not wait for that, or for a reader of stdout that reads nothing, ends it by a second one.
fn interruption() -> CancellationToken {
    static STOP: OnceLock<CancellationToken> = OnceLock::new();
    let caught = STOP.get_or_init(|| {
        let ended = "ended at once; the live generation is as it was";
        // Without handlers a signal ends the process at once, which harms nothing either.
        stop::on_signal("stopping; once more to end at once", ended).unwrap_or_default()
    });
    caught.clone()
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.follower.abort();
        self.interrupt.abort();
    }
}

fn stage_name(stage: annals_engine::rebuild::control::Stage) -> &'static str {
    use annals_engine::rebuild::control::Stage;
    match stage {
        Stage::Preparing => "looking",
        Stage::Snapshot => "copying rows",
        Stage::Folding => "folding",
        Stage::Loading => "loading",
        Stage::Comparing => "comparing",
        Stage::Indexing => "indexing",
        Stage::CatchingUp => "catching up",
        Stage::Tracing => "tracing events",
    }
}
