//! What an operator should do about a read model, and why: one remedy for one trouble.

use annals_engine::rebuild::{Plan, Why};
use annals_engine::sink::GenerationState;
use annals_model::read_model::Definition;
use annals_projectors::process::tool::in_own_name;
use serde_json::{Value, json};

use super::super::plan::{called_for, why};
use super::text;

/// Of a read model: its plan, or why there is none, and its generations.
pub(super) fn advise(name: &str, planned: Result<&Plan, &str>, lines: &[Value]) -> Vec<Value> {
    let advice = |why: String, remedy: String| advice(name, &why, &remedy);
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

/// Warns of generations whose version a coming release does not carry: it could neither serve nor keep them.
pub(super) fn leaving(definitions: &[Definition], name: &str, lines: &[Value]) -> Vec<Value> {
    let of_name = definitions.iter().filter(|definition| definition.model.name() == name);
    let leaving = of_name.filter_map(|definition| Some((definition.model.version(), definition.leaves_with?)));
    let warnings = leaving.flat_map(|(version, release)| {
        let of_version = lines.iter().filter(move |line| line["version"] == version);
        of_version.filter_map(move |line| {
            let generation = &line["generation"];
            let is = |state: GenerationState| line["state"] == state.name();
            let (consequence, remedy) = match () {
                () if is(GenerationState::Live) => (
                    "cannot serve it",
                    format!("annals rebuild {name}, then annals promote {name}, before that release runs"),
                ),
                () if is(GenerationState::Retired) || is(GenerationState::Ready) => (
                    "can neither go to it nor keep it current",
                    format!("annals drop {name} --generation {generation}, or go to it before that release runs"),
                ),
                () => return None,
            };
            let why = format!("generation {generation} is version {version}, and release {release} {consequence}");
            Some(advice(name, &why, &remedy))
        })
    });
    warnings.collect()
}

fn advice(name: &str, why: &str, remedy: &str) -> Value {
    json!({"read_model": name, "why": why, "remedy": in_own_name(remedy)})
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

#[cfg(test)]
mod tests {
    use annals_model::read_model::Definition;

    use super::*;

    fn definitions() -> Vec<Definition> {
        annals_platform::application().read_models
    }

    #[test]
    fn generations_of_a_version_that_leaves_are_warned_of_with_what_helps() {
        let line = |generation, version, state: &str| json!({"read_model": "portfolio", "generation": generation, "version": version, "state": state});
        let lines =
            [line(1, 1, "failed"), line(2, 1, "retired"), line(3, 1, "live"), line(4, 2, "ready"), line(5, 1, "dead")];
        assert_eq!(leaving(&definitions(), "portfolio", &lines), [] as [Value; 0], "none leaves with the next release");
        let leave = |definition: Definition| match definition.model.version() {
            1 => definition.leaves_with("0.3"),
            _ => definition,
        };
        let coming: Vec<Definition> = definitions().into_iter().map(leave).collect();
        let warnings = leaving(&coming, "portfolio", &lines);
        let said: Vec<[&str; 2]> = warnings.iter().map(|one| ["why", "remedy"].map(|part| text(one, part))).collect();
        assert_eq!(
            said,
            [
                [
                    "generation 2 is version 1, and release 0.3 can neither go to it nor keep it current",
                    "annals drop portfolio --generation 2, or go to it before that release runs",
                ],
                [
                    "generation 3 is version 1, and release 0.3 cannot serve it",
                    "annals rebuild portfolio, then annals promote portfolio, before that release runs",
                ],
            ]
        );
    }
}
