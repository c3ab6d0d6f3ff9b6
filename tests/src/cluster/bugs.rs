//! Is the judgement over a cluster worth anything? One drill per mistake on purpose: it lets a fault fall into the very
//! step that the mistake breaks. With the mistake the judgement finds a broken promise; without it, the same drill is
//! harmless.

use std::time::{Duration, Instant};

use annals_engine::seeded::{Point, SeededBug};
use annals_model::ids::AggregateId;
use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use tokio::task::JoinHandle;

use super::bed::Bed;
use super::check::{Rule, Violation};
use super::clients::Seen;
use super::drills::{owners, registration, require_none, shared_out};
use super::faults::Shape;
use super::history::Outcome;
use super::workload::{Command, Place};
use super::world::World;
use crate::limits;

mod forged;

/// The cluster that drills need: an owner, an heir, and as little else as there can be.
pub const SHAPE: Shape = Shape { nodes: 2, projectors: 1, brokers: 1 };

/// Rules that a mistake must be found to break, one of them at least.
pub fn breaks(bug: SeededBug) -> &'static [Rule] {
    match bug {
        SeededBug::AnswerBeforeCommit | SeededBug::CommitOutcomeIgnored => &[Rule::AcknowledgedIsInTheLog],
        SeededBug::NoLedger => &[Rule::AcceptedOnce],
        SeededBug::CheckpointOutsideTransaction => &[Rule::RowsAreTheFold],
        SeededBug::StableOffsetInsteadOfBarrier => &[Rule::AcceptedOnce, Rule::OrdinalsAreContiguous],
        SeededBug::RetryUnknownWithoutReading => &[Rule::AcceptedOnce],
        SeededBug::ClaimEpochUnchecked => &[Rule::RowsAreTheFold, Rule::ReadModelsCatchUp, Rule::OrdinalsAreContiguous],
        SeededBug::OneClaimInsteadOfTwo | SeededBug::MembershipInsteadOfFence => &[Rule::NoZombieWrites],
        SeededBug::RunnerGivesUp => &[Rule::ReadModelsCatchUp],
        SeededBug::SessionsLeftBehind => &[Rule::NoSessionIsLeftBehind],
    }
}

/// Rules that its drill breaks by itself, mistake or not.
pub fn broken_anyway(bug: SeededBug) -> &'static [Rule] {
    match bug {
        // A record of an older claim is put into the log by force.
        SeededBug::ClaimEpochUnchecked => &[Rule::NoZombieWrites, Rule::LogIsSound],
        SeededBug::AnswerBeforeCommit
        | SeededBug::NoLedger
        | SeededBug::CheckpointOutsideTransaction
        | SeededBug::CommitOutcomeIgnored
        | SeededBug::StableOffsetInsteadOfBarrier
        | SeededBug::RetryUnknownWithoutReading
        | SeededBug::OneClaimInsteadOfTwo
        | SeededBug::MembershipInsteadOfFence
        | SeededBug::RunnerGivesUp
        | SeededBug::SessionsLeftBehind => &[],
    }
}

/// Runs the drill of a mistake; `round` makes its ids no other drill's.
pub async fn drill(bug: SeededBug, world: &mut World, bed: &mut Bed, round: usize) -> anyhow::Result<()> {
    let mut drill = Drill { world, bed, label: format!("{}-{round}", bug.name()) };
    match bug {
        SeededBug::AnswerBeforeCommit => drill.a_process_is_killed_between_produce_and_commit().await,
        SeededBug::NoLedger => drill.a_command_is_sent_twice().await,
        SeededBug::CheckpointOutsideTransaction => drill.a_projector_is_killed_between_rows_and_commit().await,
        SeededBug::CommitOutcomeIgnored => drill.a_transaction_is_fenced_between_produce_and_commit().await,
        SeededBug::StableOffsetInsteadOfBarrier => drill.an_owner_commits_while_its_heir_begins_to_claim().await,
        SeededBug::RetryUnknownWithoutReading => drill.the_answer_to_a_commit_is_lost().await,
        SeededBug::ClaimEpochUnchecked => drill.a_record_of_an_older_claim_is_forged().await,
        SeededBug::OneClaimInsteadOfTwo | SeededBug::MembershipInsteadOfFence => {
            drill.an_owner_wakes_up_behind_its_heir().await
        }
        SeededBug::RunnerGivesUp => drill.an_administrator_ends_every_session().await,
        SeededBug::SessionsLeftBehind => drill.an_administrator_locks_a_table_for_long().await,
    }
}

/// Runs the drill of a mistake on an empty log, with the mistake or without it, and judges; violations that the drill
/// makes by itself are left out.
pub async fn rehearse(bug: SeededBug, is_on: bool, world: &mut World) -> anyhow::Result<Vec<Violation>> {
    let started = Instant::now();
    tokio::task::block_in_place(|| world.begin_anew(is_on.then_some(bug)))?;
    let mut bed = Bed::new(world).await?;
    shared_out(&bed, world).await?;
    drill(bug, world, &mut bed, 0).await.with_context(|| format!("the drill of {}, {is_on}", bug.name()))?;
    let (mut violations, _) = bed.judge_within(limits::DRILL_CATCH_UP_MS_MAX).await?;
    violations.retain(|violation| !broken_anyway(bug).contains(&violation.rule));
    let mut broken: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    broken.sort_unstable();
    broken.dedup();
    let with = if is_on { "with" } else { "without" };
    println!("{:>34} {with:>7} it: {broken:?} ({:.1} s)", bug.name(), started.elapsed().as_secs_f64());
    Ok(violations)
}

/// Fails unless the drill finds this mistake, and nothing without it.
pub async fn require_found(bug: SeededBug, world: &mut World) -> anyhow::Result<()> {
    require_none(&rehearse(bug, false, world).await?)?;
    let violations = rehearse(bug, true, world).await?;
    let found = violations.iter().any(|violation| breaks(bug).contains(&violation.rule));
    ensure!(found, "{} was not found: {violations:?}", bug.name());
    Ok(())
}

/// What an owner that is held was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Registration,
    /// Of an application that was registered before.
    Assessment,
}

/// An owner that is held, and who waits for it.
struct Held {
    node: usize,
    place: Place,
    sent: JoinHandle<(bool, Seen)>,
    command: Command,
}

struct Drill<'a> {
    world: &'a mut World,
    bed: &'a mut Bed,
    label: String,
}

impl Drill<'_> {
    /// What was acknowledged while its transaction was open is lost with the process.
    async fn a_process_is_killed_between_produce_and_commit(&mut self) -> anyhow::Result<()> {
        let Held { node, place, sent, .. } = self.an_append_is_held(Point::Produced, Asked::Registration).await?;
        // With the mistake the answer is on its way.
        let _ = tokio::time::timeout(Duration::from_millis(limits::GRACE_MS), settled(&sent)).await;
        self.world.node(node).kill()?;
        self.world.release(Point::Produced)?;
        self.world.look();
        self.bring_home(sent).await?;
        self.heal()?;
        // Its heir takes its time.
        self.accepted(&place, "after").await
    }

    /// The second time it is not decided again.
    async fn a_command_is_sent_twice(&mut self) -> anyhow::Result<()> {
        let place = self.bed.places()[0].clone();
        let register = registration(&place, &self.label);
        let assess = assessment(&register, &format!("{}-assess", self.label));
        let mut client = self.bed.client(1).trying_for(limits::DRILL_ANSWER_MS_MAX);
        for command in [register, assess.clone(), assess] {
            let outcome = client.send(command, None).await;
            ensure!(matches!(outcome, Some(Outcome::Acknowledged(_))), "answered {outcome:?}");
        }
        self.bed.take(client.into_seen());
        Ok(())
    }

    /// Rows and checkpoint are both there afterwards, or neither.
    async fn a_projector_is_killed_between_rows_and_commit(&mut self) -> anyhow::Result<()> {
        let place = self.bed.places()[0].clone();
        self.accepted(&place, "before").await?;
        self.world.hold(Point::RowsWritten)?;
        self.accepted(&place, "held").await?;
        let pid = self.world.wait_until_reached(Point::RowsWritten).await?;
        let held = (0..self.world.shape().projectors).find(|number| self.world.projector(*number).pid_is(pid));
        let held = held.context("a projector is held")?;
        self.world.projector(held).kill()?;
        self.world.release(Point::RowsWritten)?;
        self.heal()
    }

    /// A commit that the brokers refuse was not made.
    async fn a_transaction_is_fenced_between_produce_and_commit(&mut self) -> anyhow::Result<()> {
        let Held { node, place, sent, .. } = self.an_append_is_held(Point::Produced, Asked::Registration).await?;
        self.world.node(node).pause()?;
        self.world.release(Point::Produced)?;
        // Fences the open transaction, as any heir would.
        self.bed.claim(&place).await?;
        self.world.node(node).resume()?;
        self.bring_home(sent).await?;
        self.life_goes_on(&place).await
    }

    /// What was acknowledged before the heir had fenced the owner is known to the heir.
    async fn an_owner_commits_while_its_heir_begins_to_claim(&mut self) -> anyhow::Result<()> {
        let held = self.an_append_is_held(Point::Produced, Asked::Assessment).await?;
        let Held { node, place, sent, command: assess } = held;
        // An heir folds first what can be folded: claims of partitions where nothing is open begin sooner.
        self.world.hold_in(Point::ClaimBegins, Bed::at(&place))?;
        self.world.node(node).pause()?;
        self.world.hide(node);
        self.world.wait_until_reached(Point::ClaimBegins).await?;
        // The owner wakes up, commits, and answers.
        self.world.release(Point::Produced)?;
        self.world.node(node).resume()?;
        let answered = self.bring_home(sent).await?;
        ensure!(answered, "the owner was put out before it could commit: its transaction was open for too long");
        self.world.release(Point::ClaimBegins)?;
        // Accepted already, and the heir must know.
        let mut client = self.bed.client(2).trying_for(limits::DRILL_ANSWER_MS_MAX);
        let deadline = tokio::time::Instant::now() + Duration::from_millis(limits::SETTLE_MS_MAX);
        loop {
            let owned = owners(self.bed, self.world).await?;
            if owned.get(&Bed::partition(&place)).is_some_and(|heir| *heir != node) {
                break;
            }
            ensure!(tokio::time::Instant::now() < deadline, "nobody took over from node {node}: {owned:?}");
            tokio::time::sleep(Duration::from_millis(limits::POLL_MS)).await;
        }
        client.send(assess, None).await;
        self.bed.take(client.into_seen());
        self.world.look();
        Ok(())
    }

    /// What was committed is found there, and not written again.
    async fn the_answer_to_a_commit_is_lost(&mut self) -> anyhow::Result<()> {
        let place = self.bed.places()[0].clone();
        self.accepted(&place, "before").await?;
        self.world.lose(Point::Committed)?;
        self.life_goes_on(&place).await?;
        ensure!(self.world.is_lost(Point::Committed), "no commit came by whose answer could be lost");
        Ok(())
    }

    /// No reader takes it for history.
    async fn a_record_of_an_older_claim_is_forged(&mut self) -> anyhow::Result<()> {
        let (_, place) = self.an_owner().await?;
        self.accepted(&place, "before").await?;
        // The claim before it becomes the older one.
        self.bed.claim(&place).await?;
        forged::put(self.bed, &place).await?;
        self.life_goes_on(&place).await
    }

    /// Whoever lost a session opens another one.
    async fn an_administrator_ends_every_session(&mut self) -> anyhow::Result<()> {
        let place = self.bed.places()[0].clone();
        self.accepted(&place, "before").await?;
        tokio::task::block_in_place(|| self.world.end_sessions())?;
        self.accepted(&place, "after").await
    }

    /// What waits for it is ended before its client gives it up.
    async fn an_administrator_locks_a_table_for_long(&mut self) -> anyhow::Result<()> {
        let place = self.bed.places()[0].clone();
        self.accepted(&place, "before").await?;
        self.world.lock_table("applications").await?;
        self.accepted(&place, "behind").await?;
        let until = Instant::now() + Duration::from_millis(limits::DRILL_LOCK_MS);
        let mut since = None;
        while Instant::now() < until {
            since = (self.bed.sessions_left_behind() > 0).then(|| since.unwrap_or_else(Instant::now));
            // For a moment each session outlives its client, until the server looks.
            if since.is_some_and(|since: Instant| since.elapsed() > Duration::from_millis(limits::SESSION_OUTLIVES_MS))
            {
                // The judgement is to see it, too: it would end with the lock.
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(limits::SESSIONS_LOOK_MS)).await;
        }
        self.world.unlock_table();
        Ok(())
    }

    /// What it had decided before it stood still is written by nobody, or by the heir.
    async fn an_owner_wakes_up_behind_its_heir(&mut self) -> anyhow::Result<()> {
        // The second append since the claim: of two producers that take turns, the next is the one that was claimed last.
        let Held { node, place, sent, .. } = self.an_append_is_held(Point::AppendBegins, Asked::Assessment).await?;
        self.world.node(node).pause()?;
        self.world.release(Point::AppendBegins)?;
        self.world.hide(node);
        self.accepted(&place, "heir").await?;
        self.world.node(node).resume()?;
        self.bring_home(sent).await?;
        self.world.look();
        Ok(())
    }

    /// Sends a command to an owner, which is held at this point of its append.
    async fn an_append_is_held(&mut self, point: Point, asked: Asked) -> anyhow::Result<Held> {
        for attempt in 0..limits::DRILL_HOLDS_MAX {
            let (node, place) = self.an_owner().await?;
            let mut command = registration(&place, &format!("{}-held-{attempt}", self.label));
            if asked == Asked::Assessment {
                let request = format!("{}-assess-{attempt}", self.label);
                let assess = assessment(&command, &request);
                self.accept(std::mem::replace(&mut command, assess)).await?;
            }
            self.world.hold_node(point, node)?;
            let sent = self.send_to(node, command.clone()).await?;
            if self.world.is_reached_before(point, || sent.is_finished()).await? {
                return Ok(Held { node, place, sent, command });
            }
            // It owned the partition no longer, and handed the command on.
            self.world.release(point)?;
            self.bring_home(sent).await?;
        }
        bail!("no owner stays one for long enough")
    }

    /// A node, and a place in a partition that it owns.
    async fn an_owner(&self) -> anyhow::Result<(usize, Place)> {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(limits::SETTLE_MS_MAX);
        loop {
            let owned = owners(self.bed, self.world).await?;
            let places = self.bed.places().iter();
            let found = places.filter_map(|place| Some((*owned.get(&Bed::partition(place))?, place.clone()))).next();
            if let Some(found) = found {
                return Ok(found);
            }
            ensure!(tokio::time::Instant::now() < deadline, "nobody owns anything: {owned:?}");
            tokio::time::sleep(Duration::from_millis(limits::POLL_MS)).await;
        }
    }

    /// Sends a command to this node alone, once, and waits for its answer as long as it takes.
    async fn send_to(&self, node: usize, command: Command) -> anyhow::Result<JoinHandle<(bool, Seen)>> {
        let url = self.world.addresses().borrow()[node].clone().context("the node is ready")?;
        let mut client = self.bed.patient_client(node as u64);
        Ok(tokio::spawn(async move {
            let outcome = client.send_once_to(&url, &command).await;
            (matches!(outcome, Some(Outcome::Acknowledged(_))), client.into_seen())
        }))
    }

    /// Adds what a client was told; true if it was an acknowledgement.
    async fn bring_home(&mut self, sent: JoinHandle<(bool, Seen)>) -> anyhow::Result<bool> {
        let (acknowledged, seen) = sent.await?;
        self.bed.take(seen);
        Ok(acknowledged)
    }

    /// Registers one more application here, through any node.
    async fn accepted(&mut self, place: &Place, when: &str) -> anyhow::Result<()> {
        self.accept(registration(place, &format!("{}-{when}-{}", self.label, place.workspace))).await
    }

    /// With the mistake it may not: then the judgement says so.
    async fn life_goes_on(&mut self, place: &Place) -> anyhow::Result<()> {
        let mut client = self.bed.client(4).trying_for(limits::DRILL_LIFE_MS_MAX);
        client.send(registration(place, &format!("{}-after", self.label)), None).await;
        self.bed.take(client.into_seen());
        Ok(())
    }

    async fn accept(&mut self, command: Command) -> anyhow::Result<()> {
        let mut client = self.bed.client(3).trying_for(limits::DRILL_ANSWER_MS_MAX);
        let request = command.request.clone();
        let outcome = client.send(command, None).await;
        self.bed.take(client.into_seen());
        match outcome {
            Some(Outcome::Acknowledged(_)) => Ok(()),
            other => bail!("{request} was answered {other:?}"),
        }
    }

    fn heal(&mut self) -> anyhow::Result<()> {
        tokio::task::block_in_place(|| self.world.start_killed().and_then(|()| self.world.heal()))
    }
}

/// An assessment of a registered application: every one is an event, so that a repetition shows.
fn assessment(of: &Command, request: &str) -> Command {
    Command {
        request: request.into(),
        name: "portfolio.application.assess_risk",
        aggregate: AggregateId(of.aggregate.0),
        payload: json!({ "likelihood": 1, "impact": 1 }),
        ..of.clone()
    }
}

async fn settled(sent: &JoinHandle<(bool, Seen)>) {
    while !sent.is_finished() {
        tokio::time::sleep(Duration::from_millis(limits::POLL_MS)).await;
    }
}
