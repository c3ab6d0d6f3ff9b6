//! Code of everything: the modules of contexts and aggregates, the event enums, the catalogue.

use crate::discover::{Aggregate, EventFamily, SchemaSet};
use crate::enums::{Enums, home};
use crate::payload;
use crate::schema::Schema;
use crate::version;

/// One file, for the module where `annals_model::events!()` stands, wherever that is: its paths are relative.
pub(crate) fn generate(set: &SchemaSet, numbers: &[(&str, u8)]) -> Result<String, String> {
    let mut code = contexts(set, numbers)?;
    code += &engine(set);
    let mut schemas = Vec::new();
    for family in &set.engine {
        schemas.extend(family.schemas.iter().map(|schema| (schema, format!("engine::{}", schema.name))));
    }
    for context in set.contexts() {
        code += &format!("/// Events of the context `{context}`.\npub mod {context} {{\n");
        for aggregate in set.aggregates.iter().filter(|aggregate| aggregate.context == context) {
            let root = format!("{context}::{}", aggregate.name);
            code += &aggregate_module(aggregate, &root)?;
            for family in &aggregate.events {
                let path = |schema| format!("{}::{}", home(&root, family, schema), family.newest().name);
                schemas.extend(family.schemas.iter().map(|schema| (schema, path(schema))));
            }
        }
        code += "}\n";
    }
    schemas.sort_by_key(|(schema, _)| schema.id);
    code += "/// Every released schema, the engine's records too.\n\
             pub static CATALOGUE: ::annals_model::event::SchemaCatalogue = ::annals_model::event::SchemaCatalogue::new(&[\n";
    for (Schema { revision, writer_schema, .. }, path) in schemas {
        code += &format!("::annals_model::event::ReleasedSchema::of::<self::{path}>({revision}, {writer_schema:?}),\n");
    }
    Ok(code + "]);\n")
}

/// A constant for each context, and all of them, by number.
fn contexts(set: &SchemaSet, numbers: &[(&str, u8)]) -> Result<String, String> {
    let contexts = set.contexts();
    for (index, (name, number)) in numbers.iter().enumerate() {
        if !contexts.contains(name) {
            return Err(format!(
                "context {name} has number {number} and no events: there is no .avsc file in {name}/*/"
            ));
        }
        if numbers[..index].iter().any(|(_, other)| other >= number) {
            return Err(format!("context {name}: numbers ascend, {number} is too low or taken"));
        }
    }
    let (mut constants, mut all) = (String::new(), String::new());
    for (name, number) in numbers {
        let constant = name.to_uppercase();
        constants += &format!(
            "/// `{name}`.\npub const {constant}: ::annals_model::ids::ContextId = \
             ::annals_model::ids::ContextId {{ number: {number}, name: {name:?} }};\n"
        );
        all += &format!("{constant}, ");
    }
    match contexts.iter().find(|context| !numbers.iter().any(|(name, _)| name == *context)) {
        Some(context) => Err(format!("context {context} has no number: give it one in the build script")),
        None => Ok(format!(
            "/// The bounded contexts and their frozen numbers.\npub mod contexts {{\n{constants}\
             /// Every context that this build knows, by number.\n\
             pub const ALL: &[::annals_model::ids::ContextId] = &[{all}];\n}}\n"
        )),
    }
}

fn engine(set: &SchemaSet) -> String {
    let structs = set.engine.iter().flat_map(|family| &family.schemas);
    let structs: String = structs.map(|schema| payload::code(schema, &Enums::none(), "engine")).collect();
    format!("/// Records that the engine writes for itself.\npub mod engine {{\n{structs}}}\n")
}

fn aggregate_module(aggregate: &Aggregate, root: &str) -> Result<String, String> {
    let enums = Enums::of(aggregate, root)?;
    let mut code = format!("/// Events of the aggregate `{0}`.\npub mod {0} {{\n", aggregate.name);
    for family in &aggregate.events {
        code += &format!("pub use v{}::{};\n", family.newest().major, family.newest().name);
    }
    code += &enums.code(root);
    code += &event_set(aggregate);
    for family in &aggregate.events {
        code += &version::event(aggregate, family, root);
        code += &version::revisions(family, &enums, root)?;
    }
    code += &version::modules(aggregate, &enums, root);
    code += "}\n";
    Ok(code)
}

fn event_set(aggregate: &Aggregate) -> String {
    let (mut variants, mut froms, mut kinds, mut decodes) = Default::default();
    let (mut types, mut versions, mut schemas, mut encodes, mut jsons) = Default::default();
    let add = |code: &mut String, more: String| *code += &more;
    for family in &aggregate.events {
        let newest = family.newest();
        let (name, doc, event_type, oldest) = (&newest.name, &newest.doc, &newest.event_type, family.schemas[0].major);
        let payload = format!("<{name} as ::annals_model::event::Payload>");
        add(&mut variants, format!("#[doc = {doc:?}]\n{name}({name}),\n"));
        add(
            &mut froms,
            format!("impl From<{name}> for Event {{\nfn from(event: {name}) -> Self {{\nSelf::{name}(event)\n}}\n}}\n"),
        );
        add(
            &mut kinds,
            format!(
                "::annals_model::event::EventKind {{ event_type: {event_type:?}, oldest_version: {oldest}, version: {}, \
                 schema: {payload}::SCHEMA, privileged: {} }},\n",
                newest.major, newest.privileged
            ),
        );
        add(&mut decodes, decode_arm(family));
        add(&mut types, format!("Self::{name}(_) => {event_type:?},\n"));
        add(&mut versions, format!("Self::{name}(_) => {payload}::EVENT_VERSION,\n"));
        add(&mut schemas, format!("Self::{name}(_) => {payload}::SCHEMA,\n"));
        add(&mut encodes, format!("Self::{name}(event) => {payload}::encode(event, out),\n"));
        add(&mut jsons, format!("Self::{name}(event) => {payload}::to_json(event),\n"));
    }
    format!(
        r#"
/// Every event of the aggregate, in its newest version.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {{
{variants}}}
{froms}
impl ::annals_model::event::EventSet for Event {{
    const CONTEXT: ::annals_model::ids::ContextId = super::super::contexts::{context};
    const AGGREGATE_TYPE: &'static str = {aggregate:?};
    const TYPES: &'static [::annals_model::event::EventKind] = &[
{kinds}    ];
    fn event_type(&self) -> &'static str {{
        match self {{
{types}        }}
    }}
    fn event_version(&self) -> i32 {{
        match self {{
{versions}        }}
    }}
    fn schema(&self) -> ::annals_model::envelope::SchemaId {{
        match self {{
{schemas}        }}
    }}
    fn encode(&self, out: &mut Vec<u8>) {{
        match self {{
{encodes}        }}
    }}
    fn to_json(&self) -> ::annals_model::__private::serde_json::Value {{
        match self {{
{jsons}        }}
    }}
    fn decode_any(
        schema: ::annals_model::envelope::SchemaId,
        payload: &[u8],
    ) -> Result<Self, ::annals_model::avro::DecodeError> {{
        match schema.0 {{
{decodes}            other => Err(::annals_model::avro::DecodeError::UnknownSchema(other)),
        }}
    }}
}}
"#,
        context = aggregate.context.to_uppercase(),
        aggregate = aggregate.name,
    )
}

fn decode_arm(family: &EventFamily) -> String {
    let ids: Vec<_> = family.schemas.iter().map(|schema| schema.id.to_string()).collect();
    let name = &family.newest().name;
    format!(
        "{} => <{name} as ::annals_model::event::Event>::decode_any(schema, payload).map(Self::{name}),\n",
        ids.join(" | ")
    )
}
