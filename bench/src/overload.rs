//! More clients than a node takes at a time, who come back at once when they are told off: how much of what it does is
//! work?

use crate::client::{Refused, drive, drive_with};
use crate::commands::Clients;
use crate::node::{Log, Node, Projections, Shape};
use crate::report::{Goal, Row};
use crate::rounds::alternate;
use crate::{Plan, limits};

const WITHOUT: &str = "the same node with 64 commands in flight; every client comes back at once when it is told off";

/// The row.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let directory = plan.scratch()?;
    let node = Node::start(&Shape::new(Log::Sqlite, Projections::Elsewhere), directory.path(), plan.seed)?;
    let clients = Clients::new(plan.seed, &node.workspaces, &node.token);
    let many = limits::OVERLOAD_IN_FLIGHT;
    let turns = alternate(
        plan.rounds,
        |_| Ok(drive_with(node.address, clients.make(many), plan.turn, Refused::Again)?.turn),
        |_| Ok(drive(node.address, clients.make(limits::WITHOUT_OVERLOAD_IN_FLIGHT), plan.turn)?.turn),
    )?;
    node.stop()?;
    Ok(vec![Row::new(format!("overload/{many}"), "commands", WITHOUT, &turns).goal(Goal::Ratio(0.8))])
}
