//! Do read models in the process keep up with commands at full speed? Lines of commands on several connections, as many
//! as the server takes; then, how far behind the read model is, and how long until it is current.

use std::time::{Duration, Instant};

use annals_engine::lag::Lag;
use annals_model::ids::{Partition, WorkspaceId};
use annals_model::position::ContextPartition;
use annals_schemas::contexts::PORTFOLIO;
use anyhow::{Context as _, bail};

use crate::commands::{Clients, workspaces_each};
use crate::node::{Log, Node, Projections, Shape};
use crate::report::Row;
use crate::rounds::{Turn, median, repeat};
use crate::{Plan, limits, lines};

/// The rows.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for count in limits::LIVE_WORKSPACES {
        let directory = plan.scratch()?;
        let node = Node::start(&Shape::new(Log::Sqlite, Projections::Here), directory.path(), plan.seed)?;
        let each = limits::LIVE_CONNECTIONS.div_ceil(usize::from(limits::PARTITIONS));
        let workspaces: Vec<WorkspaceId> =
            workspaces_each(plan.seed, limits::PARTITIONS, each).into_iter().take(*count).collect();
        node.make_workspaces(&workspaces)?;
        let clients = Clients::new(plan.seed, &workspaces, &node.token);
        let (mut behind, mut current_s) = (Vec::new(), Vec::new());
        let turns = repeat(plan.rounds.min(limits::LIVE_ROUNDS_MAX), |_| {
            let (turn, ended) = turn(&node, &clients)?;
            behind.push(ended.behind as f64);
            current_s.push(ended.current_after.as_secs_f64());
            Ok(turn)
        })?;
        let middle = |values: Vec<f64>| median(values.into_iter()).unwrap_or_default();
        let note = format!(
            "{} lines on {} connections; then {:.0} events behind, current after {:.2} s",
            limits::LIVE_COMMANDS,
            limits::LIVE_CONNECTIONS,
            middle(behind),
            middle(current_s)
        );
        rows.push(Row::new(format!("live-ndjson/{count}"), "commands", "", &turns).note(note));
        node.stop()?;
    }
    Ok(rows)
}

/// How the read model stood when the last command was answered.
struct Ended {
    behind: u64,
    current_after: Duration,
}

fn turn(node: &Node, clients: &Clients) -> anyhow::Result<(Turn, Ended)> {
    let each = limits::LIVE_COMMANDS / limits::LIVE_CONNECTIONS as u64;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let sending: Vec<_> = clients
            .make(limits::LIVE_CONNECTIONS)
            .into_iter()
            .map(|commands| scope.spawn(move || lines::send(node.address, &node.token, commands, each)))
            .collect();
        sending.into_iter().try_for_each(|sent| match sent.join() {
            Ok(sent) => sent.map(drop),
            Err(_) => bail!("a client's thread panicked"),
        })
    })?;
    let took = began.elapsed();
    let ended = Instant::now();
    let at_end = behind(node)?;
    while behind(node)? > 0 {
        let waited = ended.elapsed();
        anyhow::ensure!(waited.as_secs() < limits::CURRENT_S_MAX, "the read model is not current after {waited:?}");
        std::thread::sleep(Duration::from_millis(limits::CURRENT_LOOK_MS));
    }
    let turn = Turn::of(each * limits::LIVE_CONNECTIONS as u64, took);
    Ok((turn, Ended { behind: at_end, current_after: ended.elapsed() }))
}

/// Events that the live read model has not committed yet.
fn behind(node: &Node) -> anyhow::Result<u64> {
    let checkpoints = node.checkpoints("portfolio").context("the read model has a runner")?;
    let mut sum = 0;
    for partition in (0..node.log.partitions(PORTFOLIO)).map(Partition) {
        let at = ContextPartition { context: PORTFOLIO, partition };
        sum += node.runtime().block_on(Lag::events(&*node.log, at, checkpoints.get(at)))?;
    }
    Ok(sum)
}
