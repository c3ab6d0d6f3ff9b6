//! Where queries are answered from: the live generation of each read model, and how far it has come.

use std::sync::Arc;
use std::time::Duration;

use annals_engine::lag::Lag;
use annals_engine::log::{EventLog, ReadError};
use annals_engine::outage::Outage;
use annals_engine::runner::{self, GenerationStatus, Health, LiveReadModel, WaitError};
use annals_engine::sink::{Checkpoints, Generation, KnownProcess};
use annals_model::ids::{ContextId, Partition};
use annals_model::position::{ContextPartition, Offset, PositionVector};
use annals_model::query::QueryRequest;
use annals_stores::queries::{Answer, LiveGeneration, Queries, QueryError};
use annals_stores::sinks::Store;
use serde_json::json;
use tokio::time::Instant;

use crate::consistency::ConsistencyTokens;
use crate::places::{Asker, Places, Target};
use crate::problem::{Code, Problem};
use crate::{descriptors, limits};

/// The read models that queries are answered from.
#[derive(Debug)]
pub(crate) struct ReadModels {
    pub(crate) queries: Queries,
    tokens: ConsistencyTokens,
    store: Store,
    runners: Arc<runner::ReadModels>,
    sources: Vec<Source>,
    /// Of generations that cannot be opened or say nothing of themselves.
    outage: Outage,
}

/// The answer, if it comes while it is of use to anybody: what is late is given up with its statement.
async fn answer_by(
    deadline: Instant,
    read_model: &'static str,
    answering: impl Future<Output = Result<Answer, QueryError>>,
) -> Result<Answer, QueryError> {
    tokio::time::timeout_at(deadline, answering).await.unwrap_or_else(|_| {
        Err(QueryError::Unavailable { read_model, cause: "no answer before the request's deadline".to_owned() })
    })
}

/// One read model, in all versions that this build carries.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its name.
    pub(crate) name: &'static str,
    /// The versions.
    pub(crate) versions: Vec<u32>,
    /// The contexts whose events its rows come from, in any version.
    pub(crate) contexts: Vec<ContextId>,
    /// It could not be read when it was asked last.
    outage: Outage,
}

/// What a query's answer must cover.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) position: PositionVector,
    pub(crate) until: Instant,
}

/// Whose turn it is to be answered, and until when.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) places: &'a Places,
    pub(crate) asker: Asker,
    pub(crate) deadline: Instant,
}

impl ReadModels {
    pub(crate) fn new(
        tokens: ConsistencyTokens,
        queries: Queries,
        store: Store,
        runners: Arc<runner::ReadModels>,
    ) -> Self {
        let mut sources: Vec<Source> = Vec::new();
        for model in store.read_models() {
            let (name, version, contexts) = (model.name(), model.version(), model.contexts());
            match sources.iter_mut().find(|source| source.name == name) {
                Some(source) => {
                    source.versions.push(version);
                    source.contexts.extend(contexts);
                    source.contexts.sort_unstable();
                    source.contexts.dedup();
                }
                None => {
                    sources.push(Source { name, versions: vec![version], contexts, outage: Outage::default() });
                }
            }
        }
        Self { queries, tokens, store, runners, sources, outage: Outage::default() }
    }

    /// Answers a query, once its read model covers what is wanted.
    pub(crate) async fn answer(
        &self,
        request: &QueryRequest,
        wanted: Option<Wanted>,
        log: &dyn EventLog,
        turn: &Turn<'_>,
    ) -> Result<Answer, Problem> {
        let name = self.queries.read_model(&request.name)?;
        let missing = || Problem::new(Code::ReadModelUnavailable, format!("read model {name} is not carried here"));
        let source = self.sources.iter().find(|source| source.name == name).ok_or_else(missing)?;
        loop {
            let live = self.live(name)?;
            // Asked first, also where it may be too early: what is wrong with the request is known at once, and most
            // read models are where they are wanted.
            let place = turn.places.queries.take(turn.asker, Target::ReadModel(name), turn.deadline).await?;
            let rows = self.rows(&live).await?;
            let answer = source.tell(answer_by(turn.deadline, name, self.queries.answer(request, &rows)).await)?;
            drop(place);
            if self.runners.is_replaced(&live.generation) {
                continue;
            }
            let Some(wanted) = &wanted else { return Ok(answer) };
            let position = answer.position.positions();
            // Of the contexts that this very version reads: it never comes to positions of any other.
            let contexts = live.read_model.contexts();
            if position.covers(&wanted.position, |number| contexts.iter().any(|context| context.number == number)) {
                return Ok(answer);
            }
            // Whoever waits keeps nobody from asking.
            let _place = turn.places.waits.take(turn.asker, Target::ReadModel(name), wanted.until).await?;
            source.refuse_beyond_end(&wanted.position, log).await?;
            source.wait(&live, wanted, &self.tokens).await?;
        }
    }

    /// The generation that serves a read model now.
    fn live(&self, name: &str) -> Result<LiveReadModel, Problem> {
        self.runners.live(name).ok_or_else(|| {
            let detail = format!("read model {name} has no live generation; rebuild and promote one");
            Problem::new(Code::ReadModelUnavailable, detail)
        })
    }

    async fn rows(&self, live: &LiveReadModel) -> Result<LiveGeneration, Problem> {
        let generation = live.generation.clone();
        let readers = self.read(&generation, self.store.readers(&generation).await)?;
        Ok(LiveGeneration { generation, readers })
    }

    /// The version in which a read model is served now; nothing while it is not.
    pub(crate) fn served_version(&self, name: &str) -> Option<u32> {
        self.runners.live(name).map(|live| live.generation.version)
    }

    /// Events that an answer does not stand for yet; nothing where the log does not say in time. For answers without rows:
    /// whoever finds nothing should know whether there may be something.
    pub(crate) async fn behind(&self, answer: &Answer, log: &dyn EventLog) -> Option<u64> {
        let model = self.store.read_model(answer.read_model, answer.version)?;
        let counting = async {
            let mut behind = 0;
            for context in model.contexts() {
                for partition in (0..log.partitions(context)).map(Partition) {
                    let at = ContextPartition { context, partition };
                    behind += Lag::events(log, at, answer.position.get(at)).await?;
                }
            }
            Ok::<u64, ReadError>(behind)
        };
        let limit = Duration::from_millis(annals_engine::limits::HEALTH_QUESTION_MS_MAX);
        tokio::time::timeout(limit, counting).await.ok()?.ok().filter(|behind| *behind > 0)
    }

    /// How every read model is.
    pub(crate) fn health(&self) -> Vec<Health> {
        self.runners.health()
    }

    /// The processes of the deployment, as far as the store tells in time.
    pub(crate) async fn processes(&self) -> Vec<KnownProcess> {
        let limit = Duration::from_millis(annals_engine::limits::HEALTH_QUESTION_MS_MAX);
        let asked = tokio::time::timeout(limit, self.store.registry().processes()).await;
        asked.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Whether a generation was left half built by a builder that died; not known to be where the store does not say.
    pub(crate) async fn is_abandoned(&self, generation: &Generation) -> bool {
        let limit = Duration::from_millis(annals_engine::limits::HEALTH_QUESTION_MS_MAX);
        let asked = tokio::time::timeout(limit, self.store.is_abandoned(generation)).await;
        matches!(asked, Ok(Ok(true)))
    }

    /// All read models.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// All generations of a read model.
    pub(crate) fn generations(&self, name: &str) -> Vec<GenerationStatus> {
        let mut statuses = self.runners.statuses();
        statuses.retain(|status| status.generation.read_model == name);
        statuses
    }

    /// How far a generation has come, as it is stored.
    pub(crate) async fn checkpoints(&self, generation: &Generation) -> Result<Checkpoints, Problem> {
        self.read(generation, self.store.checkpoints(generation).await)
    }

    /// Logs what the store says of a generation that cannot be read; once, until one can be.
    fn read<T>(&self, generation: &Generation, answer: Result<T, impl std::error::Error>) -> Result<T, Problem> {
        match &answer {
            Ok(_) if self.outage.ends() => tracing::info!(%generation, "generations can be read again"),
            Err(error) if self.outage.begins() => {
                let error = descriptors::explained(error.to_string());
                tracing::warn!(%generation, error, "generation cannot be read");
            }
            Ok(_) | Err(_) => {}
        }
        answer.map_err(|_| Problem::new(Code::ReadModelUnavailable, format!("{generation} cannot be read now")))
    }
}

impl Source {
    /// Logs what a store says of itself, which no client is told; once, until it answers again.
    fn tell(&self, answer: Result<Answer, QueryError>) -> Result<Answer, QueryError> {
        match &answer {
            Ok(_) if self.outage.ends() => tracing::info!(read_model = self.name, "read model can be read again"),
            Err(QueryError::Unavailable { cause, .. }) if self.outage.begins() => {
                let cause = descriptors::explained(cause.clone());
                tracing::warn!(read_model = self.name, cause, "read model cannot be read");
            }
            Err(QueryError::Damaged { cause, .. }) if self.outage.begins() => {
                tracing::error!(read_model = self.name, %cause, "read model is damaged; rebuild it");
            }
            _ => {}
        }
        answer
    }

    fn reads(&self, number: u8) -> Option<ContextId> {
        self.contexts.iter().copied().find(|context| context.number == number)
    }

    /// Returns once the live generation may cover what is wanted.
    async fn wait(&self, live: &LiveReadModel, wanted: &Wanted, tokens: &ConsistencyTokens) -> Result<(), Problem> {
        let left = wanted.until.saturating_duration_since(Instant::now());
        match live.wait_for(&wanted.position, left).await {
            Ok(_) => Ok(()),
            Err(WaitError::Stopped { failure, .. }) => Err(Problem::new(
                Code::ReadModelStopped,
                format!("{} stopped and comes no further until an operator has looked: {failure}", live.generation),
            )),
            Err(WaitError::Lags { progress, .. }) if Instant::now() >= wanted.until => {
                Err(self.behind(&progress.positions, &wanted.position, tokens))
            }
            // The generation was removed meanwhile: ask the one that is live now, when that is known here.
            Err(WaitError::Lags { .. }) => {
                let pause = Duration::from_millis(limits::CONSISTENCY_RETRY_MS);
                tokio::time::sleep_until(wanted.until.min(Instant::now() + pause)).await;
                Ok(())
            }
        }
    }

    /// A position that the log has not reached was never in an answer of this log.
    async fn refuse_beyond_end(&self, wanted: &PositionVector, log: &dyn EventLog) -> Result<(), Problem> {
        for (number, partition, offset) in wanted.iter() {
            let Some(context) = self.reads(number) else { continue };
            refuse_beyond_end(ContextPartition { context, partition }, offset, log).await?;
        }
        Ok(())
    }

    fn behind(&self, position: &PositionVector, wanted: &PositionVector, tokens: &ConsistencyTokens) -> Problem {
        let mut behind = Vec::new();
        for (number, partition, needs) in wanted.iter() {
            let Some(context) = self.reads(number) else { continue };
            let is = position.get(ContextPartition { context, partition });
            if is < needs {
                behind.push(json!({ "context": context.name, "partition": partition, "offset": is, "needs": needs }));
            }
        }
        let name = self.name;
        let detail = format!("read model {name} has not come as far as the token yet; ask again, or without the token");
        Problem::new(Code::ReadModelBehind, detail)
            .with("behind", behind)
            .with("consistency_token", tokens.issue(position))
    }
}

/// A position that the log has not reached was never in an answer of this log.
pub(crate) async fn refuse_beyond_end(at: ContextPartition, offset: Offset, log: &dyn EventLog) -> Result<(), Problem> {
    if offset == Offset::START {
        return Ok(());
    }
    let end = match at.partition.0 < log.partitions(at.context) {
        true => log.end(at).await.map_err(|error| {
            Problem::new(Code::ReadModelUnavailable, format!("the log cannot be asked for its end: {error}"))
        })?,
        false => Offset::START,
    };
    if offset <= end {
        return Ok(());
    }
    let detail = format!(
        "the token is at {at} offset {offset}, the log ends at {end}: it was shortened or replaced; read again without the \
         token"
    );
    Err(Problem::at(Code::ForeignConsistencyToken, "Consistency-Token", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_waited_for_until_the_deadline_only() {
        let deadline = Instant::now() + Duration::from_millis(250);
        let late = answer_by(deadline, "portfolio", std::future::pending()).await;
        assert!(matches!(late, Err(QueryError::Unavailable { read_model: "portfolio", .. })), "{late:?}");
        assert_eq!(Instant::now(), deadline);
    }
}
