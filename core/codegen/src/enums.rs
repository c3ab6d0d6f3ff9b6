//! Enums: which Rust type stands for which Avro enum. The newest definition lies in the aggregate's module and is
//! shared by its events; a released revision with other symbols keeps an enum of its own beside it.

use crate::discover::{Aggregate, EventFamily};
use crate::schema::{Enumeration, Schema, camel_case};

/// Module paths below the module that holds all events, and the enums that lie there.
pub(crate) struct Enums {
    root: String,
    defined: Vec<(String, Enumeration)>,
}

/// The module of a schema's struct: `<root>::v1`, or `<root>::v1::r0` for an older revision.
pub(crate) fn home(root: &str, family: &EventFamily, schema: &Schema) -> String {
    let version = format!("{root}::v{}", schema.major);
    if family.newest_of(schema.major).id == schema.id { version } else { format!("{version}::r{}", schema.revision) }
}

/// The path of the module `to`, as code in the module `from` says it.
pub(crate) fn relative(from: &str, to: &str) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (from.split("::").collect(), to.split("::").collect());
    let shared = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
    let up = if shared == from.len() { vec!["self"] } else { vec!["super"; from.len() - shared] };
    [&up, &to[shared..]].concat().join("::")
}

impl Enums {
    pub(crate) fn of(aggregate: &Aggregate, root: &str) -> Result<Self, String> {
        let mut enums = Self { root: root.to_owned(), defined: Vec::new() };
        for family in &aggregate.events {
            enums.define(family.newest(), root)?;
        }
        for family in &aggregate.events {
            for schema in family.schemas.iter().rev() {
                enums.define(schema, &home(root, family, schema))?;
            }
        }
        Ok(enums)
    }

    /// Of the engine's records, which have none.
    pub(crate) fn none() -> Self {
        Self { root: String::new(), defined: Vec::new() }
    }

    fn define(&mut self, schema: &Schema, module: &str) -> Result<(), String> {
        for enumeration in schema.fields.iter().filter_map(|field| field.ty.enumeration()) {
            if self.find(module, enumeration).is_some() {
                continue;
            }
            if self.defined.iter().any(|(at, other)| at == module && other.name == enumeration.name) {
                let (path, name) = (&schema.path, &enumeration.name);
                return Err(format!("{path}: another event has an enum {name} with other symbols; name it otherwise"));
            }
            self.defined.push((module.to_owned(), enumeration.clone()));
        }
        Ok(())
    }

    fn find(&self, module: &str, wanted: &Enumeration) -> Option<&str> {
        let same = |(at, other): &&(String, Enumeration)| {
            (at == &self.root || module.starts_with(at.as_str()))
                && (&other.name, &other.symbols, &other.default) == (&wanted.name, &wanted.symbols, &wanted.default)
        };
        self.defined.iter().find(same).map(|(at, _)| at.as_str())
    }

    /// The path of the Rust type that a struct in `module` has, as code in the module `from` says it.
    pub(crate) fn path(&self, from: &str, module: &str, enumeration: &Enumeration) -> String {
        // `define` saw every enum of every schema.
        let at = self.find(module, enumeration).unwrap_or(module);
        format!("{}::{}", relative(from, at), enumeration.name)
    }

    /// Code of the enums that lie in a module.
    pub(crate) fn code(&self, module: &str) -> String {
        self.defined.iter().filter(|(at, _)| at == module).map(|(_, enumeration)| definition(enumeration)).collect()
    }
}

fn definition(enumeration: &Enumeration) -> String {
    let Enumeration { name, doc, symbols, default } = enumeration;
    let count = symbols.len();
    let (mut variants, mut all, mut words) = (String::new(), String::new(), String::new());
    let (mut texts, mut reads) = (String::new(), String::new());
    for (index, symbol) in symbols.iter().enumerate() {
        let variant = camel_case(symbol);
        let default = if symbol == default { "#[default]" } else { "" };
        variants += &format!("#[doc = \"`{symbol}`\"] {default} #[serde(rename = {symbol:?})] {variant},\n");
        all += &format!("Self::{variant}, ");
        words += &format!("{symbol:?}, ");
        texts += &format!("Self::{variant} => {symbol:?},\n");
        let pattern = if index + 1 == count { "_".to_owned() } else { index.to_string() };
        reads += &format!("{pattern} => Self::{variant},\n");
    }
    format!(
        r#"
#[doc = {doc:?}]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, ::annals_model::__private::serde::Serialize, ::annals_model::__private::serde::Deserialize)]
#[serde(crate = "::annals_model::__private::serde")]
pub enum {name} {{
{variants}}}
impl {name} {{
    /// Every symbol, in the order of the wire.
    pub const ALL: &[Self] = &[{all}];
    /// Every symbol as text, in the same order.
    pub const WORDS: &[&str] = &[{words}];
    /// The symbol as it stands in JSON and in tables.
    pub const fn as_str(self) -> &'static str {{
        match self {{
{texts}        }}
    }}
    #[inline]
    pub(crate) fn read(reader: &mut ::annals_model::avro::Reader<'_>) -> Result<Self, ::annals_model::avro::DecodeError> {{
        Ok(match reader.symbol({count})? {{
{reads}        }})
    }}
}}
impl ::std::fmt::Display for {name} {{
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{
        f.write_str(self.as_str())
    }}
}}
/// A text column: rows hold the enum itself, tables its symbol.
impl ::annals_model::projection::Field for {name} {{
    const TYPE: ::annals_model::projection::ColumnType = ::annals_model::projection::ColumnType::Text;
    fn value(&self) -> ::annals_model::projection::Value<'_> {{
        ::annals_model::projection::Value::Text(self.as_str())
    }}
    fn from_value(
        value: ::annals_model::projection::Value<'_>,
    ) -> Result<Self, ::annals_model::projection::RowError> {{
        let text = match value {{
            ::annals_model::projection::Value::Text(text) => text,
            other => return Err(::annals_model::projection::RowError::mismatch(Self::TYPE, other)),
        }};
        let symbol = Self::ALL.iter().find(|symbol| symbol.as_str() == text);
        symbol.copied().ok_or(::annals_model::projection::RowError::invalid({name:?}))
    }}
    fn absent() -> Self {{
        Self::ALL[0]
    }}
}}
"#
    )
}
