//! Commands over HTTP on the embedded log: how much of the machine is left to clients by domain, ledger, envelope and
//! checks?

use crate::bare_server::BareServer;
use crate::client::drive;
use crate::commands::Clients;
use crate::node::{Log, Node, Projections, Shape};
use crate::report::{Goal, Row};
use crate::rounds::alternate;
use crate::{Plan, limits};

const FLOOR: &str =
    "axum, serde_json, one thread that appends JSON lines and syncs them in groups; no domain, no tokens";

/// The rows.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, projections) in
        [("embedded-http", Projections::Elsewhere), ("embedded-http+read-models", Projections::Here)]
    {
        let directory = plan.scratch()?;
        let node = Node::start(&Shape::new(Log::Sqlite, projections), directory.path(), plan.seed)?;
        let bare = BareServer::start(&directory.path().join("lines"))?;
        let clients = Clients::new(plan.seed, &node.workspaces, &node.token);
        for in_flight in plan.in_flight(limits::EMBEDDED_IN_FLIGHT) {
            let turns = alternate(
                plan.rounds,
                |_| Ok(drive(node.address, clients.make(in_flight), plan.turn)?.turn),
                |_| Ok(drive(bare.address, clients.make(in_flight), plan.turn)?.turn),
            )?;
            let row = Row::new(format!("{name}/{in_flight}"), "commands", FLOOR, &turns);
            rows.push(if in_flight > 1 { row.goal(Goal::Ratio(0.5)) } else { row });
        }
        bare.stop()?;
        node.stop()?;
    }
    Ok(rows)
}
