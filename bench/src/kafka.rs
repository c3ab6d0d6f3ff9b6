//! The engine on a real Apache Kafka: commands over HTTP, and a topic into a fold.

use std::cell::Cell;
use std::sync::Arc;

use annals_dev::kafka::Cluster;
use annals_engine::log::kafka::{KafkaLog, KafkaOptions};
use annals_engine::log::{EventLog, RawBatch};
use annals_engine::rebuild::fold::FoldOptions;
use annals_model::engine_record::Claim;
use annals_model::ids::Partition;
use annals_model::position::{ContextPartition, Offset};
use annals_schemas::contexts::PORTFOLIO;
use anyhow::ensure;
use tokio::runtime::Runtime;

use crate::bare_kafka::{BareProducers, consume};
use crate::client::drive;
use crate::commands::Clients;
use crate::history::fill;
use crate::node::{Log, Node, Projections, Shape};
use crate::rebuild::fold;
use crate::report::{Goal, Row};
use crate::rounds::alternate;
use crate::{Plan, limits};

const COMMANDS_FLOOR: &str = "a program without an engine that commits as many of the same records per transaction, \
                              with two alternating producers per partition";
const FOLD_FLOOR: &str = "batch consume that counts records";

/// Commands over HTTP.
pub(crate) fn measure_commands(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start(1)?;
    let brokers = cluster.addresses();
    let directory = plan.scratch()?;
    let log = Log::Kafka { brokers: brokers.clone(), prefix: "bench".into() };
    let node = Node::start(&Shape::new(log, Projections::Elsewhere), directory.path(), plan.seed)?;
    node.runtime().block_on(cluster.create_topic("bare", limits::PARTITIONS, &[]))?;
    let bare = BareProducers::connect(&brokers, "bare", limits::PARTITIONS)?;
    let clients = Clients::new(plan.seed, &node.workspaces, &node.token);
    // The log's records are what the floor writes as well.
    drive(node.address, clients.make(limits::KAFKA_IN_FLIGHT[0]), plan.turn)?;
    let sample = node.runtime().block_on(sample(&*node.log))?;
    let mut rows = Vec::new();
    for in_flight in plan.in_flight(limits::KAFKA_IN_FLIGHT) {
        let group = Cell::new(1.0);
        let turns = alternate(
            plan.rounds,
            |_| {
                let before = node.runtime().block_on(ends(&*node.log))?;
                let driven = drive(node.address, clients.make(in_flight), plan.turn)?;
                let after = node.runtime().block_on(ends(&*node.log))?;
                // Each command is one record, and each transaction takes one offset more.
                let transactions = (after - before).saturating_sub(driven.answered);
                ensure!(transactions > 0, "{} commands without a transaction", driven.answered);
                group.set(driven.answered as f64 / transactions as f64);
                Ok(driven.turn)
            },
            |_| bare.turn(group.get(), &sample, plan.turn),
        )?;
        let bytes = sample.iter().map(Vec::len).sum::<usize>() / sample.len();
        let note = format!("{:.1} records of {bytes} bytes per transaction", group.get());
        let row = Row::new(format!("kafka-http/{in_flight}"), "commands", COMMANDS_FLOOR, &turns);
        let row = row.note(note).goal(Goal::Ratio(0.5));
        rows.push(if in_flight == limits::KAFKA_IN_FLIGHT[0] { row.goal(Goal::P99Ms(12.0)) } else { row });
    }
    drop(bare);
    node.stop()?;
    Ok(rows)
}

/// Sum of the ends of the portfolio's partitions.
async fn ends(log: &dyn EventLog) -> anyhow::Result<u64> {
    let mut sum = 0;
    for partition in (0..log.partitions(PORTFOLIO)).map(Partition) {
        sum += log.end(ContextPartition { context: PORTFOLIO, partition }).await?.0;
    }
    Ok(sum)
}

/// The first records of the first partition, as they lie there.
async fn sample(log: &dyn EventLog) -> anyhow::Result<Vec<Vec<u8>>> {
    let at = ContextPartition { context: PORTFOLIO, partition: Partition(0) };
    let mut reader = log.reader(at, Offset::START).await?;
    let (mut batch, mut found) = (RawBatch::default(), Vec::new());
    while found.len() < limits::SAMPLE_RECORDS_MAX {
        reader.next(&mut batch).await?;
        if batch.is_empty() {
            break;
        }
        for (_, bytes) in batch.iter() {
            if Claim::decode(bytes)?.is_none() {
                found.push(bytes.to_owned());
            }
        }
    }
    ensure!(!found.is_empty(), "the log is empty");
    found.truncate(limits::SAMPLE_RECORDS_MAX);
    Ok(found)
}

/// A topic into a fold.
pub(crate) fn measure_fold(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start(1)?;
    let brokers = cluster.addresses();
    let runtime = Runtime::new()?;
    let (log, bytes) = runtime.block_on(async {
        let options = KafkaOptions { partitions: Some(limits::PARTITIONS), ..KafkaOptions::new(brokers.clone()) };
        let log: Arc<dyn EventLog> = KafkaLog::connect(options, &[PORTFOLIO]).await?;
        let bytes = fill(&log, plan.events, plan.seed).await?;
        anyhow::Ok((log, bytes))
    })?;
    let turns = alternate(
        plan.rounds,
        |_| runtime.block_on(fold(&log, FoldOptions::default())),
        |_| consume(&brokers, "annals.portfolio.events", limits::PARTITIONS),
    )?;
    let note = format!("{} events of {} bytes, {} per row", plan.events, bytes / plan.events, limits::EVENTS_PER_ROW);
    Ok(vec![Row::new("kafka-fold", "events", FOLD_FLOOR, &turns).note(note).goal(Goal::Rate(1_000_000.0))])
}
