//! How the read models fare: their generations, and how far each is behind the log.

use std::sync::Arc;

use annals_engine::lag::Lag;
use annals_engine::log::ReadError;
use annals_engine::owners::system_now;
use annals_engine::runner::{GenerationStatus, RunnerState};
use annals_engine::sink::{Checkpoints, GenerationState, KnownProcess, false_checkpoint};
use annals_model::ids::{ContextId, Partition};
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::time::Timestamp;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::parameters::Parameters;
use crate::CONTRACT_VERSION;
use crate::auth::{Caller, ROLE_AUDITOR, ROLE_OPERATOR};
use crate::document::Document;
use crate::places::{Asker, Target};
use crate::problem::{Code, Problem};
use crate::read_models::Source;
use crate::shared::Shared;
use crate::trace::Meta;

/// `GET /v1/read-models`
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    meta: Meta,
    parameters: Parameters,
) -> Result<Response, Problem> {
    if ![ROLE_OPERATOR, ROLE_AUDITOR].iter().any(|role| caller.roles.contains(*role)) {
        let detail = "read models hold every tenant's rows: this needs a token with the role operator or auditor";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    parameters.finish()?;
    let (asker, deadline) = (Asker::from(&caller), meta.deadline());
    let _place = shared.places.overviews.take(asker, Target::Any, deadline).await?;
    let processes = shared.read_models.processes().await;
    let health = shared.read_models.health();
    let mut read_models = Vec::new();
    for source in shared.read_models.sources() {
        let mut generations = Vec::new();
        for status in shared.read_models.generations(source.name) {
            generations.push(describe(&shared, source, status, &processes).await);
        }
        let trouble = health.iter().find(|health| health.read_model == source.name);
        let trouble = trouble.and_then(|health| health.trouble.as_ref());
        read_models.push(json!({
            "name": source.name,
            "trouble": trouble.map(|trouble| json!({ "cause": trouble.cause, "passes": trouble.passes })),
            "versions": source.versions,
            "contexts": source.contexts.iter().map(|context| context.name).collect::<Vec<_>>(),
            "generations": generations,
        }));
    }
    let body = json!({
        "contract_version": CONTRACT_VERSION,
        "log_id": shared.engine.log().id(),
        "read_models": read_models,
        "processes": processes.iter().map(process).collect::<Vec<_>>(),
    });
    Ok(Document(body).into_response())
}

/// What the registry knows of a generation, and, where a runner keeps it current, how that fares.
async fn describe(shared: &Shared, source: &Source, status: GenerationStatus, processes: &[KnownProcess]) -> Value {
    let mut shown = match serde_json::to_value(&status.generation) {
        Ok(Value::Object(shown)) => shown,
        // Texts, numbers and instants: always an object.
        Ok(_) | Err(_) => Map::new(),
    };
    shown.remove("read_model");
    if !status.generation.state.is_run() {
        if status.generation.state == GenerationState::Building {
            shown.insert("builder_died".to_owned(), shared.read_models.is_abandoned(&status.generation).await.into());
        }
        return Value::Object(shown);
    }
    let state = status.progress.as_ref().map(|progress| &progress.state);
    let keeper = processes.iter().find(|process| process.keeps(source.name));
    shown.insert("runner".to_owned(), runner(state, status.problem.as_deref(), keeper));
    let checkpoints = match status.progress {
        Some(progress) if !matches!(progress.state, RunnerState::Starting) => Ok(progress.checkpoints),
        Some(_) | None => shared.read_models.checkpoints(&status.generation).await,
    };
    // Whoever asks here looks for what is wrong: one trouble must not hide all the rest.
    let told = match checkpoints {
        Ok(checkpoints) => progress(shared, &source.contexts, &checkpoints, &mut shown).await,
        Err(problem) => Err(problem),
    };
    if let Err(problem) = told {
        shown.insert("unreadable".to_owned(), problem.to_json()["detail"].clone());
    }
    Value::Object(shown)
}

/// A process, as it told of itself.
fn process(known: &KnownProcess) -> Value {
    let mut shown = json!({ "alive": known.is_alive(), "seen_seconds_ago": known.seen_ms_ago as f64 / 1e3 });
    if let (Some(shown), Ok(Value::Object(report))) = (shown.as_object_mut(), serde_json::to_value(&known.report)) {
        shown.extend(report);
    }
    shown
}

/// How a runner is, and why it does not run.
fn runner(state: Option<&RunnerState>, problem: Option<&str>, keeper: Option<&KnownProcess>) -> Value {
    match state {
        Some(RunnerState::Starting) => json!({ "state": "starting" }),
        Some(RunnerState::Running) => json!({ "state": "running" }),
        Some(RunnerState::Observed) => match keeper {
            Some(keeper) => json!({ "state": "elsewhere", "process": keeper.report.id }),
            None => json!({ "state": "none", "cause": "no process keeps it current" }),
        },
        Some(RunnerState::Retrying { attempts, cause }) => {
            json!({ "state": "retrying", "attempts": attempts, "cause": cause })
        }
        Some(RunnerState::Stopped(failure)) => {
            json!({ "state": "stopped", "cause": failure.to_string(), "tried_again": failure.is_transient() })
        }
        Some(RunnerState::Ended) => json!({ "state": "ended" }),
        None => json!({ "state": "none", "cause": problem }),
    }
}

async fn progress(
    shared: &Shared,
    contexts: &[ContextId],
    checkpoints: &Checkpoints,
    shown: &mut Map<String, Value>,
) -> Result<(), Problem> {
    let log = &**shared.engine.log();
    let (mut events, mut seconds, mut components) = (0, 0f64, Vec::new());
    let now = system_now();
    for &context in contexts {
        for partition in (0..log.partitions(context)).map(Partition) {
            let at = ContextPartition { context, partition };
            let checkpoint = checkpoints.get(at);
            let behind = match Lag::of(log, at, checkpoint).await {
                Ok(behind) => behind,
                // Of a checkpoint that is false the log would be said to be damaged.
                Err(error) => match false_checkpoint(log, at, checkpoint).await {
                    Ok(Some(cause)) => return Err(Problem::new(Code::ReadModelUnavailable, cause)),
                    Ok(None) | Err(_) => return Err(unreadable(&error)),
                },
            };
            components.push(component(at, checkpoint, &behind));
            events += behind.events;
            seconds = seconds.max(behind.age(now).as_secs_f64());
        }
    }
    shown.insert("consistency_token".to_owned(), shared.tokens.issue(&checkpoints.positions()).into());
    shown.insert("checkpoints".to_owned(), components.into());
    shown.insert("lag_events".to_owned(), events.into());
    shown.insert("lag_seconds".to_owned(), seconds.into());
    Ok(())
}

/// One partition of a generation.
fn component(at: ContextPartition, checkpoint: Checkpoint, behind: &Lag) -> Value {
    json!({
        "context": at.context.name,
        "partition": at.partition,
        "offset": checkpoint.offset,
        "emitted_at": Some(checkpoint.emitted_at).filter(|emitted_at| *emitted_at != Timestamp::default()),
        "lag_events": behind.events,
    })
}

fn unreadable(error: &ReadError) -> Problem {
    Problem::new(Code::ReadModelUnavailable, format!("the log cannot be read: {error}"))
}
