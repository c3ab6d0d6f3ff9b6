//! Everything that can be held against a cluster once it is quiet.

use annals_platform::application;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_engine::log::verify;
use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::FoldOptions;
use annals_engine::sink::{Checkpoints, Generation};
use annals_engine::verify::{VerifyOutcome, verify as verify_rows};
use annals_model::ids::Partition;
use annals_model::position::ContextPartition;
use annals_schemas::CATALOGUE;
use anyhow::Context as _;

use super::Bed;
use crate::cluster::check::{Rule, Violation, check};
use crate::cluster::recorded::{LogContent, LogPartition};
use crate::cluster::world::read_models;
use crate::limits;

impl Bed {
    /// What is wrong with what was told, with the log, and with the read models; and how many claims there were.
    pub async fn judge(&self) -> anyhow::Result<(Vec<Violation>, u64)> {
        self.judge_within(limits::CATCH_UP_MS_MAX).await
    }

    /// The same, with another time for read models to come to the log's end.
    pub async fn judge_within(&self, catch_up_ms: u64) -> anyhow::Result<(Vec<Violation>, u64)> {
        let content = self.content(catch_up_ms).await?;
        let mut found = check(&self.history, &content);
        let known = |schema| CATALOGUE.get(schema).is_some();
        let report = verify::verify(&*self.log, &application().context_ids(), &known, &mut |_| {}).await?;
        let findings = report.findings.iter().map(ToString::to_string).chain(report.meta.clone());
        found.extend(findings.map(|what| Violation { rule: Rule::LogIsSound, what }));
        found.extend(self.judge_rows(&content, catch_up_ms).await?);
        found.extend(self.left_behind(Instant::now() + Duration::from_millis(catch_up_ms)).await);
        Ok((found, content.claims()))
    }

    /// Waits until every read model shows what the log holds now, and no session is left behind: when that was, and what
    /// was not so by then.
    pub(super) async fn late_at(&self, by: Instant) -> anyhow::Result<(Instant, Vec<Violation>)> {
        let content = self.content(limits::CATCH_UP_MS_MAX).await?;
        let mut late = Vec::new();
        for name in read_models() {
            if let Some(what) = self.missing_at(name, &content, by).await? {
                late.push(Violation { rule: Rule::ReadModelsCatchUp, what: format!("too late: {what}") });
            }
        }
        late.extend(self.left_behind(by).await);
        Ok((Instant::now(), late))
    }

    /// Waits until the database works for nobody who has gone; what is wrong if it still does by then.
    async fn left_behind(&self, by: Instant) -> Option<Violation> {
        loop {
            let left = self.sessions_left_behind();
            if left == 0 {
                return None;
            }
            if Instant::now() > by {
                let what = format!("{left} sessions of the database go on for clients that have gone");
                return Some(Violation { rule: Rule::NoSessionIsLeftBehind, what });
            }
            tokio::time::sleep(Duration::from_millis(limits::SESSIONS_LOOK_MS)).await;
        }
    }

    /// Waits until a read model shows all of this; what it does not show by then.
    async fn missing_at(
        &self,
        name: &'static str,
        content: &LogContent,
        by: Instant,
    ) -> anyhow::Result<Option<String>> {
        loop {
            let missing = self.missing(name, content).await?;
            if missing.is_none() || Instant::now() > by {
                return Ok(missing);
            }
            tokio::time::sleep(Duration::from_millis(limits::POLL_MS * 4)).await;
        }
    }

    /// What the log holds. A broker that is just back may not answer at once, and that is no broken promise.
    async fn content(&self, patience_ms: u64) -> anyhow::Result<LogContent> {
        let deadline = Instant::now() + Duration::from_millis(patience_ms);
        loop {
            match LogContent::read_behind(&*self.log, &application().context_ids(), &self.made.marks).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(limits::POLL_MS)).await,
                read => return read,
            }
        }
    }

    async fn judge_rows(&self, content: &LogContent, catch_up_ms: u64) -> anyhow::Result<Vec<Violation>> {
        let mut found = Vec::new();
        for name in read_models() {
            let by = Instant::now() + Duration::from_millis(catch_up_ms);
            if let Some(what) = self.missing_at(name, content, by).await? {
                found.push(Violation { rule: Rule::ReadModelsCatchUp, what });
            }
            if let Some(generation) = self.live().await?.get(name)
                && let Some(what) = self.differs(generation).await?
            {
                found.push(Violation { rule: Rule::RowsAreTheFold, what });
            }
        }
        Ok(found)
    }

    /// What a read model has not come to yet.
    async fn missing(&self, name: &'static str, content: &LogContent) -> anyhow::Result<Option<String>> {
        let Some(generation) = self.live().await?.remove(name) else {
            return Ok(Some(format!("{name} has no live generation")));
        };
        let model = self.store.read_model(name, generation.version).context("this build carries what it wrote")?;
        let checkpoints: Checkpoints = self.store.checkpoints(&generation).await?;
        for context in model.contexts() {
            for partition in content.partitions.iter().filter(|partition| partition.context == context.number) {
                let at = ContextPartition { context, partition: Partition(partition.partition) };
                let (is, needs) = (checkpoints.get(at).offset.0, behind_last_event(partition));
                if is < needs {
                    return Ok(Some(format!("{generation} stands at {at} {is}, the last event lies before {needs}")));
                }
            }
        }
        Ok(None)
    }

    async fn differs(&self, generation: &Generation) -> anyhow::Result<Option<String>> {
        let model = self.store.read_model(&generation.read_model, generation.version);
        let model = model.context("this build carries what it wrote")?;
        let (log, control) = (Arc::clone(&self.log), Control::default());
        let verified = verify_rows(log, &self.store, model, generation, FoldOptions::default(), &control).await;
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => return Ok(Some(format!("{generation} cannot be verified: {error}"))),
        };
        Ok(match verified {
            VerifyOutcome::Equal { .. } => None,
            VerifyOutcome::Diverges { diverging, first, .. } => {
                Some(format!("{generation}: {diverging} rows differ, the first: {:?}", first.first()))
            }
            VerifyOutcome::NoSuchCheckpoint { at, checkpoint, found } => {
                Some(format!("{generation}: {at} stands at {checkpoint:?}, the log has {found:?}"))
            }
        })
    }
}

/// Behind the last event that a read model has to show. Records of fenced owners are no events.
fn behind_last_event(partition: &LogPartition) -> u64 {
    let shown = |record: &&crate::cluster::recorded::LogRecord| {
        !record.is_engine_record && record.claim_epoch >= record.newest_claim
    };
    partition.records.iter().rfind(shown).map_or(0, |record| record.offset + 1)
}
