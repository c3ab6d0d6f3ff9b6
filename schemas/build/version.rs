//! Code that carries what older revisions and majors wrote to the newest version.

use std::collections::BTreeMap;

use serde_json::Value;

use super::discover::{Aggregate, EventFamily};
use super::enums::{Enums, home};
use super::payload::identifier;
use super::schema::{Enumeration, Field, Schema, Type, camel_case};

/// `impl From<v1::r0::X> for v1::X`, for every older revision.
pub(crate) fn revisions(family: &EventFamily, enums: &Enums, root: &str) -> Result<String, String> {
    let mut code = String::new();
    for older in &family.schemas {
        let newer = family.newest_of(older.major);
        if newer.id != older.id {
            let (from, to) = (home(root, family, older), home(root, family, newer));
            code += &conversion(older, newer, &from, &to, enums)?;
        }
    }
    Ok(code)
}

fn conversion(older: &Schema, newer: &Schema, from: &str, to: &str, enums: &Enums) -> Result<String, String> {
    let mut fields = String::new();
    for field in &newer.fields {
        let ident = identifier(&field.name);
        let value = match older.fields.iter().find(|other| other.name == field.name) {
            Some(other) => carried(&format!("older.{ident}"), (&other.ty, from), (&field.ty, to), enums),
            None => default(field, to, enums),
        };
        let value = value.ok_or_else(|| {
            let (path, name) = (&newer.path, &field.name);
            format!(
                "{path}: field {name:?} is not in {} with this type and has no default; make it a new major version",
                older.path
            )
        })?;
        fields += &format!("{ident}: {value},\n");
    }
    let (name, unused) = (&newer.name, if fields.contains("older.") { "" } else { "_" });
    Ok(format!(
        r#"
impl From<{from}::{name}> for {to}::{name} {{
    /// Fields that the older revision did not have get their default.
    #[inline]
    fn from({unused}older: {from}::{name}) -> Self {{
        Self {{
{fields}        }}
    }}
}}
"#
    ))
}

fn carried(value: &str, from: (&Type, &str), to: (&Type, &str), enums: &Enums) -> Option<String> {
    match (from.0, to.0) {
        (Type::Enum(older), Type::Enum(newer)) => {
            let (older_path, newer_path) = (enums.path(from.1, older), enums.path(to.1, newer));
            if older_path == newer_path {
                return Some(value.to_owned());
            }
            let arm = |symbol: &String| {
                let kept = if newer.symbols.contains(symbol) { symbol } else { &newer.default };
                format!("{older_path}::{} => {newer_path}::{},\n", camel_case(symbol), camel_case(kept))
            };
            Some(format!("match {value} {{\n{}}}", older.symbols.iter().map(arm).collect::<String>()))
        }
        (Type::Nullable(older), Type::Nullable(newer)) => {
            let inner = carried("value", (older.as_ref(), from.1), (newer.as_ref(), to.1), enums)?;
            Some(if inner == "value" { value.to_owned() } else { format!("{value}.map(|value| {inner})") })
        }
        (older, newer) => (older == newer).then(|| value.to_owned()),
    }
}

fn default(field: &Field, module: &str, enums: &Enums) -> Option<String> {
    let variant = |enumeration: &Enumeration, symbol: &str| {
        enumeration
            .symbols
            .iter()
            .any(|known| known == symbol)
            .then(|| format!("{}::{}", enums.path(module, enumeration), camel_case(symbol)))
    };
    match (&field.ty, field.default.as_ref()?) {
        (Type::Nullable(_), Value::Null) => Some("None".to_owned()),
        (Type::Boolean, Value::Bool(value)) => Some(value.to_string()),
        (Type::Int | Type::Long, Value::Number(value)) => value.as_i64().map(|value| value.to_string()),
        (Type::Double, Value::Number(value)) => value.as_f64().map(|value| format!("{value:?}")),
        (Type::Timestamp, Value::Number(value)) => {
            value.as_i64().map(|value| format!("::annals_model::time::Timestamp({value})"))
        }
        (Type::String, Value::String(value)) => Some(format!("String::from({value:?})")),
        (Type::Enum(enumeration), Value::String(symbol)) => variant(enumeration, symbol),
        _ => None,
    }
}

/// `impl Event` for the newest version of one event: reads whatever was ever released.
pub(crate) fn event(aggregate: &Aggregate, family: &EventFamily, root: &str) -> String {
    let newest = family.newest();
    let (name, target) = (&newest.name, format!("{}::{}", home(root, family, newest), newest.name));
    let mut arms = String::new();
    for schema in &family.schemas {
        let (id, source) = (schema.id, format!("{}::{name}", home(root, family, schema)));
        let mut steps = format!("let event = <{source} as ::annals_model::event::Payload>::decode(payload)?;\n");
        if family.newest_of(schema.major).id != id {
            steps += &format!("let event = {root}::v{}::{name}::from(event);\n", schema.major);
        }
        for major in schema.major + 1..=newest.major {
            steps += &format!("let event: {root}::v{major}::{name} = crate::Upcast::upcast(event);\n");
        }
        arms += &format!("{id} => {{\n{steps}Ok(event)\n}}\n");
    }
    let oldest = family.schemas[0].major;
    format!(
        r#"
impl ::annals_model::event::Event for {target} {{
    const CONTEXT: ::annals_model::ids::ContextId = crate::contexts::{context};
    const AGGREGATE_TYPE: &'static str = {aggregate:?};
    const OLDEST_VERSION: i32 = {oldest};
    #[inline]
    fn decode_any(
        schema: ::annals_model::envelope::SchemaId,
        payload: &[u8],
    ) -> Result<Self, ::annals_model::avro::DecodeError> {{
        match schema.0 {{
{arms}            other => Err(::annals_model::avro::DecodeError::UnknownSchema(other)),
        }}
    }}
}}
"#,
        context = aggregate.context.to_uppercase(),
        aggregate = aggregate.name,
    )
}

/// Modules of the major versions, with one module for each older revision in them.
pub(crate) fn modules(aggregate: &Aggregate, enums: &Enums, root: &str) -> String {
    let mut modules: BTreeMap<u16, (String, BTreeMap<u16, String>)> = BTreeMap::new();
    for family in &aggregate.events {
        for schema in &family.schemas {
            let path = home(root, family, schema);
            let code = super::payload::code(schema, enums, &path);
            let (newest, older) = modules.entry(schema.major).or_default();
            let revision = family.newest_of(schema.major).id != schema.id;
            *(if revision { older.entry(schema.revision).or_default() } else { newest }) += &code;
        }
    }
    let mut code = String::new();
    for (major, (newest, older)) in modules {
        code += &format!("/// Major version {major}, each event in its newest revision.\npub mod v{major} {{\n");
        code += &enums.code(&format!("{root}::v{major}"));
        code += &newest;
        for (revision, structs) in older {
            code += &format!("/// Revision {revision}, superseded.\npub mod r{revision} {{\n");
            code += &enums.code(&format!("{root}::v{major}::r{revision}"));
            code += &structs;
            code += "}\n";
        }
        code += "}\n";
    }
    code
}
