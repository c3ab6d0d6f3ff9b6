//! What an operator should do about a read model, and why: one remedy for one trouble.

use annals_engine::rebuild::{Plan, Why};
use annals_engine::sink::GenerationState;
use serde_json::{Value, json};

use super::super::plan::{called_for, why};
use super::text;

/// Of a read model: its plan, or why there is none, and its generations.
pub(super) fn advise(name: &str, planned: Result<&Plan, &str>, lines: &[Value]) -> Vec<Value> {
    let advice = |why: String, remedy: String| json!({"read_model": name, "why": why, "remedy": remedy});
    let live = lines.iter().find(|line| line["state"] == GenerationState::Live.name());
    let trouble = live.filter(|live| live["trouble"].is_string());
    let planned = match planned {
        Ok(planned) => planned,
        Err(cause) => return vec![advice(cause.to_owned(), SEE_TO_IT.to_owned())],
    };
    let mut all = Vec::new();
    match &planned.why {
        Why::ReadyToPromote(ready) => {
            let mut why = why(planned);
            if let Some(live) = trouble.filter(|live| needs_a_rebuild(live)) {
                why = format!("{}; {why}", text(live, "trouble"));
            }
            let remedy = format!("annals verify {name} --generation {0}, then annals promote {name}", ready.id);
            all.push(advice(why, remedy));
        }
        _ if called_for(&planned.why) => all.push(advice(why(planned), format!("annals rebuild {name}"))),
        _ => {}
    }
    // What a rebuild helps against is in the plan, if that calls for one.
    if let Some(live) = trouble.filter(|live| all.is_empty() || !needs_a_rebuild(live)) {
        all.push(advice(text(live, "trouble").to_owned(), remedy(name, live)));
    }
    if let Some(dead) = lines.iter().find(|line| line["state"] == "dead").filter(|_| all.is_empty()) {
        let why = format!("generation {} was left half built: {}", dead["generation"], text(dead, "trouble"));
        all.push(advice(why, format!("annals rebuild {name}")));
    }
    all
}

pub(super) const SEE_TO_IT: &str = "see to the cause: the server tries again every few seconds";

fn needs_a_rebuild(live: &Value) -> bool {
    live["tried_again"] != true && live["nobody"] != true
}

/// What helps a live generation in trouble. A rebuild finds a full disk as full.
pub(super) fn remedy(name: &str, live: &Value) -> String {
    match live {
        _ if live["nobody"] == true => "start `annals up`, or `annals-projector`, whichever kept it current".to_owned(),
        _ if live["tried_again"] == true => SEE_TO_IT.to_owned(),
        _ => format!("annals rebuild {name}, then annals promote {name}"),
    }
}
