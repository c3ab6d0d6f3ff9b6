//! The commands that there are, as their own types tell it.

use annals_engine::owners::EngineHandle;
use annals_model::aggregate::ScopeKind;
use annals_model::command_json::{CommandField, FieldKind};
use annals_model::context::ErasedAggregate;
use annals_model::ids::ContextId;
use serde::Serialize;
use serde_json::{Map, Value};

/// One command.
#[derive(Debug, Serialize)]
pub(crate) struct CommandDescription {
    #[serde(rename = "type")]
    kind: String,
    aggregate: String,
    /// It makes a new aggregate.
    creates: bool,
    /// What must stand beside the payload.
    needs: Vec<&'static str>,
    /// What the payload may hold.
    fields: Vec<Field>,
    /// A payload that it takes, as small as can be.
    example: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct Field {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    words: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl From<CommandField> for Field {
    fn from(field: CommandField) -> Self {
        let words = if let FieldKind::Word(words) = field.kind { words } else { &[] };
        Self { name: field.name, kind: field.kind.name(), required: field.required, words, rule: field.rule }
    }
}

/// All commands: by context, aggregate and command, in the order in which they are declared.
pub(crate) fn catalogue(engine: &EngineHandle) -> Vec<CommandDescription> {
    let kinds = engine.contexts().flat_map(|context| context.aggregates().map(|kind| (context.id(), kind)));
    kinds
        .flat_map(|(context, kind)| kind.command_names().iter().map(move |name| describe(context, kind, name)))
        .collect()
}

fn describe(context: ContextId, kind: &dyn ErasedAggregate, name: &str) -> CommandDescription {
    let fields = kind.command_fields(name);
    let required = fields.iter().filter(|field| field.required);
    let example = required.map(|field| (field.name.to_owned(), field.example.clone().unwrap_or_default())).collect();
    let aggregate = format!("{context}.{}", kind.aggregate_type());
    let creates = kind.created_by().contains(&name);
    let mut needs = vec!["client_request_id"];
    needs.extend((kind.scope() != ScopeKind::Tenant).then_some("workspace_id"));
    needs.extend((!creates).then_some("aggregate_id"));
    let fields = fields.into_iter().map(Field::from).collect();
    CommandDescription { kind: format!("{aggregate}.{name}"), aggregate, creates, needs, fields, example }
}
