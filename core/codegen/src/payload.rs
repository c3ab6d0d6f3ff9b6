//! Code of one revision's struct and its straight-line codec.

use crate::enums::Enums;
use crate::schema::{Schema, Type};

/// The struct and its `Payload`. `module` is the path of the module that the code goes into.
pub(crate) fn code(schema: &Schema, enums: &Enums, module: &str) -> String {
    let Schema { name, doc, event_type, major, id, .. } = schema;
    let (mut fields, mut puts, mut reads) = (String::new(), String::new(), String::new());
    for field in &schema.fields {
        let (ident, doc) = (identifier(&field.name), &field.doc);
        let types = Types { enums, module };
        fields += &format!("#[doc = {doc:?}]\npub {ident}: {},\n", types.rust(&field.ty));
        puts += &put(&field.ty, &format!("self.{ident}"), &format!("&self.{ident}"));
        reads += &format!("{ident}: {},\n", types.read(&field.ty));
    }
    let eq = if schema.fields.iter().any(|field| field.ty.is_double()) { "" } else { "Eq, " };
    let unused = if schema.fields.is_empty() { "_" } else { "" };
    format!(
        r#"
#[doc = {doc:?}]
#[derive(Clone, Debug, PartialEq, {eq}::annals_model::__private::serde::Serialize)]
#[serde(crate = "::annals_model::__private::serde")]
pub struct {name} {{
{fields}}}
impl ::annals_model::event::Payload for {name} {{
    const EVENT_TYPE: &'static str = {event_type:?};
    const EVENT_VERSION: i32 = {major};
    const SCHEMA: ::annals_model::envelope::SchemaId = ::annals_model::envelope::SchemaId({id});
    #[inline]
    fn encode(&self, {unused}out: &mut Vec<u8>) {{
{puts}    }}
    #[inline]
    fn read(
        {unused}reader: &mut ::annals_model::avro::Reader<'_>,
    ) -> Result<Self, ::annals_model::avro::DecodeError> {{
        Ok(Self {{
{reads}        }})
    }}
}}
"#
    )
}

struct Types<'a> {
    enums: &'a Enums,
    module: &'a str,
}

impl Types<'_> {
    fn rust(&self, ty: &Type) -> String {
        match ty {
            Type::Boolean => "bool".to_owned(),
            Type::Int => "i32".to_owned(),
            Type::Long => "i64".to_owned(),
            Type::Double => "f64".to_owned(),
            Type::String => "String".to_owned(),
            Type::Timestamp => "::annals_model::time::Timestamp".to_owned(),
            Type::Uuid(newtype) => format!("::annals_model::ids::{newtype}"),
            Type::Enum(enumeration) => self.enums.path(self.module, self.module, enumeration),
            Type::Nullable(inner) => format!("Option<{}>", self.rust(inner)),
        }
    }

    fn read(&self, ty: &Type) -> String {
        match ty {
            Type::Nullable(inner) => format!("reader.option({})?", self.reading(inner)),
            Type::Enum(_) => format!("{}(reader)?", self.reading(ty)),
            Type::Boolean => "reader.bool()?".to_owned(),
            Type::Int => "reader.int()?".to_owned(),
            Type::Long => "reader.long()?".to_owned(),
            Type::Double => "reader.double()?".to_owned(),
            Type::String => "reader.str()?.to_owned()".to_owned(),
            Type::Timestamp => "::annals_model::time::Timestamp(reader.long()?)".to_owned(),
            Type::Uuid(newtype) => format!("::annals_model::ids::{newtype}::from_bytes(*reader.fixed()?)"),
        }
    }

    /// A function that reads a value, as what is in a nullable is read.
    fn reading(&self, ty: &Type) -> String {
        match ty {
            Type::Boolean => "::annals_model::avro::Reader::bool".to_owned(),
            Type::Int => "::annals_model::avro::Reader::int".to_owned(),
            Type::Long => "::annals_model::avro::Reader::long".to_owned(),
            Type::Double => "::annals_model::avro::Reader::double".to_owned(),
            Type::Enum(enumeration) => format!("{}::read", self.enums.path(self.module, self.module, enumeration)),
            Type::String | Type::Timestamp | Type::Uuid(_) | Type::Nullable(_) => {
                format!("|reader| Ok({})", self.read(ty))
            }
        }
    }
}

/// Appends a value, given as an expression of the value's own type and as one of a reference to it.
fn put(ty: &Type, value: &str, reference: &str) -> String {
    match ty {
        Type::Boolean => format!("::annals_model::avro::put_bool(out, {value});\n"),
        Type::Int => format!("::annals_model::avro::put_int(out, {value});\n"),
        Type::Long => format!("::annals_model::avro::put_long(out, {value});\n"),
        Type::Double => format!("::annals_model::avro::put_double(out, {value});\n"),
        Type::String => format!("::annals_model::avro::put_str(out, {reference});\n"),
        Type::Timestamp => format!("::annals_model::avro::put_long(out, {value}.0);\n").replace("*value.0", "value.0"),
        Type::Uuid(_) => format!("out.extend_from_slice({value}.as_bytes());\n").replace("*value.as", "value.as"),
        Type::Enum(_) => format!("::annals_model::avro::put_int(out, {value} as i32);\n"),
        Type::Nullable(inner) => {
            let put = put(inner, "*value", "value");
            format!("match {reference} {{\nNone => out.push(0),\nSome(value) => {{\nout.push(2);\n{put}}}\n}}\n")
        }
    }
}

/// A field's name as a Rust identifier; serde drops the `r#`.
pub(crate) fn identifier(name: &str) -> String {
    match name {
        "type" | "ref" | "match" | "move" | "use" | "where" | "loop" | "mod" | "impl" | "trait" | "box" | "final"
        | "override" | "priv" | "abstract" | "virtual" | "async" | "await" | "static" | "const" | "in" | "for" => {
            format!("r#{name}")
        }
        _ => name.to_owned(),
    }
}
