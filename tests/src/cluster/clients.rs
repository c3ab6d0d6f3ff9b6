//! Clients that follow a workload over HTTP, through whichever node they happen to ask, and retry until they are answered.

mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annals_api::consistency::ConsistencyTokens;
use annals_model::ids::{AggregateId, Scope, TenantId, WorkspaceId};
use annals_model::position::PositionVector;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tokio::sync::watch;

use super::history::{Acknowledged, AggregateName, Attempt, History, Moment, Outcome, Shown, Sight, Span};
use super::workload::{Command, Step, Workload};
use crate::limits;

use self::wire::Wire;
pub use self::wire::{Asked, Told};

/// What all clients share.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where the nodes listen now; nothing for one that is not started.
    pub nodes: watch::Receiver<Arc<[Option<String>]>>,
    /// A token of each tenant.
    pub tokens: Arc<HashMap<TenantId, String>>,
    /// Reads and makes the nodes' consistency tokens.
    pub consistency: ConsistencyTokens,
    /// When the history began.
    pub origin: Instant,
    /// What clients do now.
    pub phase: watch::Receiver<Phase>,
    /// Commands acknowledged so far, by all.
    pub acknowledged: Arc<AtomicU64>,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Step after step.
    Work,
    /// They finish what they have begun, and begin nothing.
    Settle {
        /// When the faults were over.
        since: Instant,
    },
}

impl Phase {
    /// True if a request that was begun at `first` has been tried for long enough since the faults were over.
    fn is_over_for(self, first: Instant, now: Instant) -> bool {
        match self {
            Self::Work => false,
            Self::Settle { since } => now - since.max(first) > Duration::from_millis(limits::SETTLE_MS_MAX),
        }
    }
}

/// One client, over all runs of a log: it remembers what it sent.
#[derive(Clone, Debug)]
pub struct Client {
    http: Wire,
    random: StdRng,
    around: Surroundings,
    history: History,
    /// Commands that it sent, with the version that they named and how they were answered for good.
    done: Vec<(Command, Option<u64>, Outcome)>,
    /// Version that it saw last of each aggregate.
    seen: HashMap<AggregateName, u64>,
    /// How long each answered command took, from the first try on.
    latencies_us: Vec<u64>,
    /// How long it tries, whatever the phase is.
    tries_for: Option<Duration>,
}

/// What a client brings home.
#[derive(Debug, Default)]
pub struct Seen {
    /// What it was told.
    pub history: History,
    /// How long each answered command took, microseconds, retries included.
    pub latencies_us: Vec<u64>,
}

impl Client {
    /// A client that makes its own choices (which node, how long a pause) by this seed.
    pub fn new(seed: u64, around: Surroundings) -> Self {
        Self::with_patience(seed, around, limits::ATTEMPT_MS)
    }

    /// The same, with another time for each try.
    pub fn with_patience(seed: u64, around: Surroundings, attempt_ms: u64) -> Self {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_millis(attempt_ms + limits::ATTEMPT_GRACE_MS))
            .connect_timeout(Duration::from_millis(limits::ATTEMPT_GRACE_MS))
            .build()
            .unwrap_or_default();
        Self {
            http: Wire { http, attempt_ms },
            random: StdRng::seed_from_u64(seed),
            around,
            history: History::default(),
            done: Vec::new(),
            seen: HashMap::new(),
            latencies_us: Vec::new(),
            tries_for: None,
        }
    }

    /// It gives up after this time, whether the faults are over or not.
    #[must_use]
    pub fn trying_for(self, time_ms: u64) -> Self {
        Self { tries_for: Some(Duration::from_millis(time_ms)), ..self }
    }

    /// Works until the phase says otherwise, and finishes what it has begun.
    pub async fn work(mut self, workload: Workload) -> Seen {
        for step in workload {
            if *self.around.phase.borrow() != Phase::Work {
                break;
            }
            self.step(step).await;
            tokio::time::sleep(Duration::from_millis(limits::STEP_PAUSE_MS)).await;
        }
        self.into_seen()
    }

    /// Sends what a workload sends, many commands in each request, until the phase says otherwise. All are of one tenant.
    pub async fn work_in_bulk(mut self, workload: Workload) -> Seen {
        let mut commands = workload.filter_map(|step| match step {
            Step::Send(command) => Some(command),
            Step::Again(_) | Step::AgainOtherwise(_) | Step::Read { .. } | Step::ReadBack(_) => None,
        });
        while *self.around.phase.borrow() == Phase::Work {
            let bulk = commands.by_ref().take(limits::BULK_COMMANDS).collect();
            self.send_all(bulk).await;
            tokio::time::sleep(Duration::from_millis(limits::BULK_PAUSE_MS)).await;
        }
        self.into_seen()
    }

    /// Sends commands of one tenant, all at once, until each is answered for good.
    async fn send_all(&mut self, commands: Vec<Command>) {
        let first = Instant::now();
        let mut open = commands;
        while let Some(tenant) = open.first().map(|command| command.tenant) {
            if let Some(node) = self.node() {
                open = self.attempt_all(&node, tenant, open).await;
            }
            if !open.is_empty() && self.gives_up(first).await {
                self.history.unanswered.extend(open.into_iter().map(|command| command.request));
                return;
            }
        }
    }

    /// One try of all of them; those that have no final answer.
    async fn attempt_all(&mut self, node: &str, tenant: TenantId, commands: Vec<Command>) -> Vec<Command> {
        let all: Vec<Asked> = commands.iter().map(|command| Asked::new(command, None)).collect();
        let began = self.now();
        let told = self.http.send_lines(node, &self.around.tokens[&tenant], &all, &self.around.consistency).await;
        let Some(told) = told else { return commands };
        let span = Span { began, ended: self.now() };
        let mut open = Vec::new();
        for ((command, asked), told) in commands.into_iter().zip(all).zip(told) {
            let outcome = match told {
                Told::Outcome(outcome) => outcome,
                Told::Nothing => Outcome::Open,
                Told::Odd(what) => {
                    self.history.odd.push(format!("{} through {node}: {what}", command.request));
                    Outcome::Open
                }
            };
            self.history.attempts.push(Attempt {
                request: command.request.clone(),
                body: asked.fingerprint,
                aggregate: command.aggregate_name(),
                span,
                outcome: outcome.clone(),
            });
            match outcome {
                Outcome::Acknowledged(_) => {
                    self.around.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Refused { .. } => {}
                Outcome::NotWritten { .. } | Outcome::Open => open.push(command),
            }
        }
        open
    }

    /// What it was told so far.
    pub fn into_seen(self) -> Seen {
        Seen { history: self.history, latencies_us: self.latencies_us }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Send(command) => {
                let expected = self.seen.get(&command.aggregate_name()).copied().filter(|_| command.expects_last_seen);
                self.send(command, expected).await;
            }
            Step::Again(choice) => {
                if let Some((command, expected, _)) = self.earlier(choice, |_| true) {
                    self.send(command, expected).await;
                }
            }
            Step::AgainOtherwise(choice) => {
                // Of one that was accepted: of another one it would be a new command.
                let accepted = |outcome: &Outcome| matches!(outcome, Outcome::Acknowledged(_));
                if let Some((command, expected, _)) = self.earlier(choice, accepted) {
                    let otherwise = expected.map_or(1, |version| version + 1);
                    self.send(command, Some(otherwise)).await;
                }
            }
            Step::Read { tenant, of, workspace, aggregate } => self.read(tenant, of, workspace, aggregate).await,
            Step::ReadBack(choice) => {
                let made = |outcome: &Outcome| matches!(outcome, Outcome::Acknowledged(answer) if answer.version > 0);
                if let Some((command, _, Outcome::Acknowledged(answer))) = self.earlier(choice, made)
                    && command.name.starts_with("portfolio.application.")
                    && command.workspace.is_some()
                {
                    self.read_back(command.aggregate_name(), &answer).await;
                }
            }
        }
    }

    fn earlier(&self, choice: u64, of: impl Fn(&Outcome) -> bool) -> Option<(Command, Option<u64>, Outcome)> {
        let fitting: Vec<_> = self.done.iter().filter(|(.., outcome)| of(outcome)).collect();
        let index = usize::try_from(choice).unwrap_or_default().checked_rem(fitting.len())?;
        Some(fitting[index].clone())
    }

    /// Sends a command until it is answered for good; what it was answered, if it was.
    pub async fn send(&mut self, command: Command, expected: Option<u64>) -> Option<Outcome> {
        let asked = Asked::new(&command, expected);
        let first = Instant::now();
        loop {
            if let Some(outcome) = self.attempt(&command, &asked).await {
                match &outcome {
                    Outcome::Acknowledged(answer) => {
                        self.around.acknowledged.fetch_add(1, Ordering::Relaxed);
                        self.saw(command.aggregate_name(), answer.version);
                    }
                    Outcome::Refused { seen: Some(version), .. } => self.saw(command.aggregate_name(), *version),
                    Outcome::Refused { seen: None, .. } | Outcome::NotWritten { .. } | Outcome::Open => {}
                }
                self.latencies_us.push(u64::try_from(first.elapsed().as_micros()).unwrap_or(u64::MAX));
                self.done.push((command, expected, outcome.clone()));
                return Some(outcome);
            }
            if self.gives_up(first).await {
                self.history.unanswered.push(command.request);
                return None;
            }
        }
    }

    /// One try, through this node, whatever comes of it; it waits as long as it takes.
    pub async fn send_once_to(&mut self, node: &str, command: &Command) -> Option<Outcome> {
        let asked = Asked::new(command, None);
        self.attempt_through(node, command, &asked).await
    }

    /// One question to this node, which is to be answered with what was asked for; else how it was.
    pub async fn ask_once(&self, node: &str, tenant: TenantId, path: &str) -> Result<(), String> {
        self.asked_once(node, tenant, path, None).await
    }

    /// The same, answered no earlier than the read model has come as far.
    pub async fn ask_once_at(
        &self,
        node: &str,
        tenant: TenantId,
        path: &str,
        position: &PositionVector,
    ) -> Result<(), String> {
        let token = self.around.consistency.issue(position);
        self.asked_once(node, tenant, path, Some(&token)).await
    }

    async fn asked_once(&self, node: &str, tenant: TenantId, path: &str, token: Option<&str>) -> Result<(), String> {
        match self.http.get(node, &self.around.tokens[&tenant], path, token).await {
            wire::Got::Found(_) => Ok(()),
            wire::Got::Missing => Err("404".into()),
            wire::Got::Later => Err("nothing, or to ask again".into()),
            wire::Got::Odd(what) => Err(what),
        }
    }

    /// One try through some node; the outcome if it is final.
    async fn attempt(&mut self, command: &Command, asked: &Asked) -> Option<Outcome> {
        let node = self.node()?;
        self.attempt_through(&node, command, asked).await
    }

    async fn attempt_through(&mut self, node: &str, command: &Command, asked: &Asked) -> Option<Outcome> {
        let began = self.now();
        let told = self.http.send(node, &self.around.tokens[&command.tenant], asked, &self.around.consistency).await;
        let span = Span { began, ended: self.now() };
        let outcome = match told {
            Told::Nothing => return None,
            Told::Odd(what) => {
                self.history.odd.push(format!("{} through {node}: {what}", command.request));
                Outcome::Open
            }
            Told::Outcome(outcome) => outcome,
        };
        self.history.attempts.push(Attempt {
            request: command.request.clone(),
            body: asked.fingerprint,
            aggregate: command.aggregate_name(),
            span,
            outcome: outcome.clone(),
        });
        match outcome {
            Outcome::Acknowledged(_) | Outcome::Refused { .. } => Some(outcome),
            Outcome::NotWritten { .. } | Outcome::Open => None,
        }
    }

    /// Asks an aggregate's owner, until it answers.
    pub async fn read(&mut self, tenant: TenantId, of: &str, workspace: WorkspaceId, aggregate: AggregateId) {
        let path = format!("/v1/aggregates/{of}/{aggregate}?workspace_id={workspace}");
        let answered = self.ask(tenant, &path, None, |body| match body {
            None => Some(0),
            Some(body) => body["aggregate"]["version"].as_u64(),
        });
        if let Some((span, version)) = answered.await {
            let aggregate = AggregateName { about: Scope { tenant, workspace }, of: of.into(), id: aggregate };
            self.saw(aggregate.clone(), version);
            self.history.sights.push(Sight { aggregate, span, version, by: Shown::Owner });
        }
    }

    /// Asks a read model for a write, with the write's token, until it answers.
    async fn read_back(&mut self, aggregate: AggregateName, answer: &Acknowledged) {
        let Scope { tenant, workspace } = aggregate.about;
        let token = self.around.consistency.issue(&answer.position);
        let id = answer.aggregate.to_string();
        let path = format!("/v1/queries/portfolio.applications?workspace_id={workspace}&limit=500");
        let mut cursor: Option<String> = None;
        // Page after page: the row is somewhere, or it is not.
        loop {
            let page = cursor.as_ref().map_or_else(|| path.clone(), |cursor| format!("{path}&cursor={cursor}"));
            let found = self.ask(tenant, &page, Some(&token), |body| {
                let body = body?;
                let rows = body["rows"].as_array()?;
                let row = rows.iter().find(|row| row["id"].as_str() == Some(&id));
                let version = row.and_then(|row| row["version"].as_u64());
                Some((version, body["next_cursor"].as_str().map(str::to_owned)))
            });
            let Some((span, (version, next))) = found.await else { return };
            cursor = next;
            if version.is_some() || cursor.is_none() {
                let by = Shown::ReadModel { covers: answer.version };
                let version = version.unwrap_or_default();
                return self.history.sights.push(Sight { aggregate, span, version, by });
            }
        }
    }

    /// Asks until somebody answers 200, or 404 (no body); what `understand` makes of it.
    async fn ask<T>(
        &mut self,
        tenant: TenantId,
        path: &str,
        token: Option<&str>,
        understand: impl Fn(Option<&Value>) -> Option<T>,
    ) -> Option<(Span, T)> {
        let first = Instant::now();
        loop {
            if let Some(node) = self.node() {
                let began = self.now();
                let got = self.http.get(&node, &self.around.tokens[&tenant], path, token).await;
                let span = Span { began, ended: self.now() };
                match got {
                    wire::Got::Found(body) => match understand(Some(&body)) {
                        Some(found) => return Some((span, found)),
                        None => self.history.odd.push(format!("{path} through {node}: {body}")),
                    },
                    wire::Got::Missing => match understand(None) {
                        Some(found) => return Some((span, found)),
                        None => self.history.odd.push(format!("{path} through {node}: 404")),
                    },
                    wire::Got::Later => {}
                    wire::Got::Odd(what) => self.history.odd.push(format!("{path} through {node}: {what}")),
                }
            }
            if self.gives_up(first).await {
                self.history.unanswered.push(path.into());
                return None;
            }
        }
    }

    /// Pauses before the next try. True when there is none: the faults have been over for long enough.
    async fn gives_up(&mut self, first: Instant) -> bool {
        let is_over = self.around.phase.borrow().is_over_for(first, Instant::now());
        if is_over || self.tries_for.is_some_and(|most| first.elapsed() > most) {
            return true;
        }
        let pause = self.random.random_range(limits::RETRY_PAUSE_MS_MAX / 4..limits::RETRY_PAUSE_MS_MAX);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        false
    }

    /// Any node; nothing while none is started.
    fn node(&mut self) -> Option<String> {
        let nodes = self.around.nodes.borrow();
        let started: Vec<_> = nodes.iter().flatten().collect();
        let index = self.random.random_range(0..started.len().max(1));
        started.get(index).map(|node| (*node).clone())
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.around.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn saw(&mut self, aggregate: AggregateName, version: u64) {
        self.seen.insert(aggregate, version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_began_long_before_the_faults_were_over_is_tried_as_long_behind_them_as_any_other() {
        let first = Instant::now();
        let patience = Duration::from_millis(limits::SETTLE_MS_MAX);
        let since = first + 2 * patience;
        assert!(!Phase::Work.is_over_for(first, since));
        assert!(!Phase::Settle { since }.is_over_for(first, since + patience / 2));
        assert!(Phase::Settle { since }.is_over_for(first, since + patience * 2));
    }
}
