//! The same import twice on Kafka: the second time each line is answered from the log as it was answered before.

use annals_dev::kafka::Cluster;
use anyhow::ensure;
use std::time::Instant;

use crate::commands::Commands;
use crate::node::{Log, Node, Projections, Shape};
use crate::report::Row;
use crate::rounds::{Turn, alternate};
use crate::{Plan, limits, lines};

const FLOOR: &str = "as many lines that are new";

/// The row.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start(1)?;
    let directory = plan.scratch()?;
    let log = Log::Kafka { brokers: cluster.addresses(), prefix: "replay".into() };
    let node = Node::start(&Shape::new(log, Projections::Elsewhere), directory.path(), plan.seed)?;
    // The first import is nobody's turn: what is repeated has to be there.
    import(&node, plan.seed, 0)?;
    let turns = alternate(
        plan.rounds.min(limits::REPLAY_ROUNDS_MAX),
        |round| {
            let (turn, taken) = import(&node, plan.seed, round)?;
            ensure!(taken.replayed == limits::REPLAY_LINES, "{taken:?} of lines that were there");
            Ok(turn)
        },
        |round| Ok(import(&node, plan.seed, round + 1)?.0),
    )?;
    node.stop()?;
    let note = format!("{} lines on one connection into one workspace", limits::REPLAY_LINES);
    Ok(vec![Row::new("kafka-replay", "lines", FLOOR, &turns).note(note)])
}

/// Import `number`, the same lines each time.
fn import(node: &Node, seed: u64, number: u8) -> anyhow::Result<(Turn, lines::Taken)> {
    let commands = Commands::new(seed, u64::from(number), node.workspaces[0], &node.token);
    let began = Instant::now();
    let taken = lines::send(node.address, &node.token, commands, limits::REPLAY_LINES)?;
    Ok((Turn::of(limits::REPLAY_LINES, began.elapsed()), taken))
}
