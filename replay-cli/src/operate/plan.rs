//! `plan`: what a rebuild would do, and whether it is called for.

use annals_engine::generations::retention::old_after_a_promotion;
use annals_engine::rebuild::{Plan, PlanError, Why, plan};
use annals_engine::sink::Generation;
use serde_json::{Value, json};

use super::Site;
use super::removal::{named, numbers};
use crate::cli::{Global, PlanArgs};
use crate::exit::{Exit, Failure};
use crate::failure::{read_failure, store_failure};
use crate::output::cell::{bytes, count};
use crate::output::{Output, render_pairs};

/// `plan`.
pub(crate) async fn run(global: &Global, output: Output, args: &PlanArgs) -> anyhow::Result<Exit> {
    let site = Site::open(global).await?;
    let plan = make(&site, &args.name, args.version).await?;
    let old = old(&site, &args.name).await?;
    output.document(&document(&plan, &old), || text(&plan, &old))?;
    Ok(Exit::Ok)
}

/// The generations that would go when another one is promoted.
pub(super) async fn old(site: &Site, name: &str) -> anyhow::Result<Vec<Generation>> {
    let old = old_after_a_promotion(&site.store, name, site.keep).await;
    old.map_err(|error| store_failure(&error).into())
}

/// The plan for a version of a read model.
pub(super) async fn make(site: &Site, name: &str, version: Option<u32>) -> anyhow::Result<Plan> {
    let read_model = site.read_model(name, version)?;
    let planned = plan(&*site.log, &site.store, &read_model, None).await;
    planned.map_err(|error| plan_failure(&error).into())
}

pub(super) fn plan_failure(error: &PlanError) -> Failure {
    match error {
        PlanError::Read(error) => read_failure(error),
        PlanError::Store(error) => store_failure(error),
    }
}

fn document(plan: &Plan, old: &[Generation]) -> Value {
    json!({
        "read_model": plan.read_model,
        "version": plan.version,
        "called_for": called_for(&plan.why),
        "why": why(plan),
        "live_version": plan.live.as_ref().map(|live| live.version),
        "live_generation": plan.live.as_ref().map(|live| live.id),
        "promotion_drops": numbers(old),
        "events": plan.events,
        "bytes": plan.bytes,
        "estimated_seconds": plan.estimated.as_secs_f64(),
        "tables": plan.tables.iter().map(|table| table.name).collect::<Vec<_>>(),
        "event_types": plan.event_types.iter().map(|event| event.event_type).collect::<Vec<_>>(),
        "partitions": plan.partitions.iter()
            .map(|extent| json!({"partition": extent.at.to_string(), "events": extent.ordinal}))
            .collect::<Vec<_>>(),
    })
}

/// A plan for people.
pub(super) fn text(plan: &Plan, old: &[Generation]) -> String {
    let live = plan.live.as_ref().map_or_else(
        || "none".to_owned(),
        |live| format!("generation {} of version {}; it is served all the while", live.id, live.version),
    );
    let mut pairs = vec![
        ("would build", format!("{} version {}, as a new generation", plan.read_model, plan.version)),
        ("called for", format!("{}: {}", if called_for(&plan.why) { "yes" } else { "no" }, why(plan))),
        ("live", live),
        ("reads", format!("{} events, about {}", count(plan.events), bytes(plan.bytes))),
        (
            "takes",
            format!(
                "about {:.1} s, at {} events per second",
                plan.estimated.as_secs_f64(),
                count(plan.events_per_second)
            ),
        ),
        ("writes", plan.tables.iter().map(|table| table.name).collect::<Vec<_>>().join(", ")),
        ("applies", plan.event_types.iter().map(|event| event.event_type).collect::<Vec<_>>().join(", ")),
    ];
    if !old.is_empty() {
        pairs.push(("promotion drops", named(old)));
    }
    if let Some(building) = &plan.building {
        let what = match plan.is_abandoned {
            true => "was left half built by a builder that died; it is begun anew",
            false => "is being built by another process; until that has ended a rebuild is refused",
        };
        pairs.push(("building", format!("generation {} {what}", building.id)));
    }
    render_pairs(&pairs)
}

pub(super) fn called_for(why: &Why) -> bool {
    match why {
        Why::NothingLive | Why::OtherVersion { .. } | Why::LiveUnusable { .. } => true,
        Why::ReadyToPromote(_) | Why::UpToDate => false,
    }
}

pub(super) fn why(plan: &Plan) -> String {
    match &plan.why {
        Why::NothingLive => "nothing is live".to_owned(),
        Why::LiveUnusable { cause } => format!("the live generation cannot be used: {cause}"),
        Why::OtherVersion { live } => format!("version {live} is live, this would be version {}", plan.version),
        Why::ReadyToPromote(ready) => {
            format!("generation {} of version {} is ready to be promoted", ready.id, ready.version)
        }
        Why::UpToDate => format!("version {} is live", plan.version),
    }
}
