//! Code that carries what older revisions and majors wrote to the newest version.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::discover::{Aggregate, EventFamily};
use crate::enums::{Enums, home, relative};
use crate::payload::{self, identifier};
use crate::schema::{Enumeration, Field, Schema, Type, camel_case};

/// `impl From<v1::r0::X> for v1::X`, for every older revision.
pub(crate) fn revisions(family: &EventFamily, enums: &Enums, root: &str) -> Result<String, String> {
    let mut code = String::new();
    for older in &family.schemas {
        let newer = family.newest_of(older.major);
        if newer.id != older.id {
            let (from, to) = (home(root, family, older), home(root, family, newer));
            code += &conversion((older, &from), (newer, &to), root, enums)?;
        }
    }
    Ok(code)
}

/// In the module `root`, from and to a schema in its home.
fn conversion(
    (older, from): (&Schema, &str),
    (newer, to): (&Schema, &str),
    root: &str,
    enums: &Enums,
) -> Result<String, String> {
    let path = |module: &str, enumeration: &Enumeration| enums.path(root, module, enumeration);
    let mut fields = String::new();
    for field in &newer.fields {
        let ident = identifier(&field.name);
        let value = match older.fields.iter().find(|other| other.name == field.name) {
            Some(other) => carried(&format!("older.{ident}"), (&other.ty, from), (&field.ty, to), &path),
            None => default(field, to, &path),
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
    let (from, to) = (relative(root, from), relative(root, to));
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

/// How code names an enum of a struct in a module.
type EnumPath<'a> = &'a dyn Fn(&str, &Enumeration) -> String;

fn carried(value: &str, from: (&Type, &str), to: (&Type, &str), path: EnumPath<'_>) -> Option<String> {
    match (from.0, to.0) {
        (Type::Enum(older), Type::Enum(newer)) => {
            let (older_path, newer_path) = (path(from.1, older), path(to.1, newer));
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
            let inner = carried("value", (older.as_ref(), from.1), (newer.as_ref(), to.1), path)?;
            Some(if inner == "value" { value.to_owned() } else { format!("{value}.map(|value| {inner})") })
        }
        (older, newer) => (older == newer).then(|| value.to_owned()),
    }
}

fn default(field: &Field, module: &str, path: EnumPath<'_>) -> Option<String> {
    let variant = |enumeration: &Enumeration, symbol: &str| {
        enumeration
            .symbols
            .iter()
            .any(|known| known == symbol)
            .then(|| format!("{}::{}", path(module, enumeration), camel_case(symbol)))
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
    let name = &newest.name;
    let mut arms = String::new();
    for schema in &family.schemas {
        let (id, source) = (schema.id, format!("{}::{name}", relative(root, &home(root, family, schema))));
        let mut steps = format!("let event = <{source} as ::annals_model::event::Payload>::decode(payload)?;\n");
        if family.newest_of(schema.major).id != id {
            steps += &format!("let event = self::v{}::{name}::from(event);\n", schema.major);
        }
        for major in schema.major + 1..=newest.major {
            steps += &format!("let event: self::v{major}::{name} = ::annals_model::event::Upcast::upcast(event);\n");
        }
        arms += &format!("{id} => {{\n{steps}Ok(event)\n}}\n");
    }
    let oldest = family.schemas[0].major;
    format!(
        r#"
impl ::annals_model::event::Event for {name} {{
    const CONTEXT: ::annals_model::ids::ContextId = super::super::contexts::{context};
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
            let code = payload::code(schema, enums, &path);
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
