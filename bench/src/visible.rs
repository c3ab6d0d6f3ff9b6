//! From a command's answer until a query shows it: a client sends a command, and with the token of its answer a query,
//! which is answered as soon as the read model has got there. The same query without a token tells what of this is the
//! query's own.

use std::io::Write as _;
use std::time::Instant;

use annals_dev::kafka::Cluster;
use annals_dev::postgres::Server;
use anyhow::{Context as _, ensure};

use crate::client::{Connection, Requests as _};
use crate::commands::{Clients, Commands};
use crate::node::{Log, Node, Projections, Shape};
use crate::report::{Goal, Row};
use crate::rounds::{Latencies, Turn, alternate};
use crate::{Plan, limits};

const FLOOR: &str = "the same query without a token";

/// The rows.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start(1)?;
    let kafka = Log::Kafka { brokers: cluster.addresses(), prefix: "visible".into() };
    let server = Server::start()?;
    let postgres = Some(server.fresh_database()?.url);
    let shapes = [
        ("visible-sqlite", Shape::new(Log::Sqlite, Projections::Here)),
        ("visible-kafka+postgres", Shape { postgres, ..Shape::new(kafka, Projections::Here) }),
    ];
    let mut rows = Vec::new();
    for (name, shape) in shapes {
        let directory = plan.scratch()?;
        let node = Node::start(&shape, directory.path(), plan.seed)?;
        let clients = Clients::new(plan.seed, &node.workspaces, &node.token);
        let turns = alternate(
            plan.rounds,
            |_| turn(&node, clients.make(node.workspaces.len()), Wait::ForToken),
            |_| turn(&node, clients.make(node.workspaces.len()), Wait::No),
        )?;
        let row = Row::new(name, "commands and queries", FLOOR, &turns);
        rows.push(row.note("latencies are the queries'").goal(Goal::P50Ms(1.5)).goal(Goal::P99Ms(10.0)));
        node.stop()?;
    }
    Ok(rows)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    ForToken,
    No,
}

/// One client that sends commands of several in turn, each with a query behind it.
fn turn(node: &Node, mut clients: Vec<Commands>, wait: Wait) -> anyhow::Result<Turn> {
    let mut connection = Connection::open(node.address)?;
    let mut latencies = Latencies::new();
    let (workspaces, count) = (&node.workspaces, clients.len());
    let began = Instant::now();
    for sample in 0..limits::VISIBLE_SAMPLES {
        let mut request = Vec::new();
        clients[sample % count].next(&mut request);
        let answer = connection.ask(&request)?;
        ensure!((200..300).contains(&answer.status), "{}", answer.body);
        let answered = Instant::now();
        let token = answer.body["consistency_token"].as_str().context("an answer without token")?;
        let token = if wait == Wait::ForToken { format!("Consistency-Token: {token}\r\n") } else { String::new() };
        request.clear();
        write!(
            request,
            "GET /v1/queries/portfolio.applications?workspace_id={}&limit=1 HTTP/1.1\r\nHost: bench\r\n\
             Authorization: Bearer {}\r\n{token}\r\n",
            workspaces[sample % workspaces.len()],
            node.token,
        )?;
        let shown = connection.ask(&request)?;
        ensure!(shown.status == 200, "{}", shown.body);
        latencies.record(answered.elapsed());
    }
    Ok(Turn { latencies: Some(latencies), ..Turn::of(limits::VISIBLE_SAMPLES as u64, began.elapsed()) })
}
