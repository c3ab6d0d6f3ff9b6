//! What a command's payload may hold, as its `Deserialize` tells when it is asked: nothing that could go stale is written down.
//!
//! A derived `Deserialize` names its fields, asks the deserializer for each by type, says which one it misses, and refuses
//! values in words. This deserializer holds nothing, and listens.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    VariantAccess, Visitor,
};
use serde_json::{Map, Value, json};

/// One field of a command's payload.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandField {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// True if the command is refused without it.
    pub required: bool,
    /// What its values must be like, in the words of its refusals; nothing where any of its kind will do.
    pub rule: Option<String>,
    /// A value that it takes; nothing where none was found.
    pub example: Option<Value>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// A UUID, as text.
    Uuid,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// An object.
    Object,
    /// Whatever JSON there is.
    Any,
}

impl FieldKind {
    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Word(_) => "word",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::List => "list",
            Self::Object => "object",
            Self::Any => "any",
        }
    }

    /// Values to try, the likeliest first.
    fn candidates(self) -> Vec<Value> {
        match self {
            Self::Text => vec![json!("example"), json!("2026-01-19T12:00:00Z"), json!("1.0.0"), json!("a@example.org")],
            Self::Uuid => vec![json!("0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f")],
            Self::Word(words) => words.iter().map(|word| json!(word)).collect(),
            Self::Integer => vec![json!(1), json!(0), json!(100)],
            Self::Number => vec![json!(0.5), json!(1.0)],
            Self::Boolean => vec![json!(false)],
            Self::List => vec![json!([])],
            Self::Object | Self::Any => vec![json!({})],
        }
    }

    /// A value that nothing with a rule takes.
    fn extreme(self) -> Option<Value> {
        match self {
            Self::Text => Some(json!("")),
            Self::Integer => Some(json!(i64::MIN)),
            _ => None,
        }
    }
}

/// The fields of the payload of one variant of a command, in the order in which they are declared.
pub fn command_fields<C: DeserializeOwned>(variant: &str) -> Vec<CommandField> {
    let mut fields: Vec<CommandField> = Vec::new();
    for name in ask::<C>(variant, &Map::new(), None).names.iter().copied() {
        let kind = ask::<C>(variant, &Map::new(), Some(name)).kind.unwrap_or(FieldKind::Any);
        let refusal = |value: Value| ask::<C>(variant, &Map::from_iter([(name.to_owned(), value)]), None).refusal;
        let rule =
            kind.extreme().and_then(refusal).and_then(|words| words.split_once("; ").map(|(_, rule)| rule.to_owned()));
        let example = kind.candidates().into_iter().find(|value| refusal(value.clone()).is_none());
        fields.push(CommandField { name, kind, required: false, rule, example });
    }
    // It says one at a time what it misses.
    let mut given = Map::new();
    while let Some(name) = ask::<C>(variant, &given, None).missing {
        let Some(field) = fields.iter_mut().find(|field| field.name == name && !field.required) else { break };
        field.required = true;
        given.insert(name.to_owned(), field.example.clone().unwrap_or_default());
    }
    fields
}

/// What was heard.
#[derive(Default)]
struct Heard {
    names: &'static [&'static str],
    kind: Option<FieldKind>,
    /// Why a value that was given is refused.
    refusal: Option<String>,
    missing: Option<&'static str>,
}

/// Lets a command be read from these fields, and from one more whose value is only listened to.
fn ask<C: DeserializeOwned>(variant: &str, given: &Map<String, Value>, listen: Option<&'static str>) -> Heard {
    let mut heard = Heard::default();
    if let Err(Silence { missing: Some(name), .. }) =
        C::deserialize(Listener { variant, given, listen, heard: &mut heard })
    {
        heard.missing = Some(name);
    }
    heard
}

/// The error of a deserializer that holds nothing.
#[derive(Debug)]
struct Silence {
    words: String,
    missing: Option<&'static str>,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}
impl std::error::Error for Silence {}
impl de::Error for Silence {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self { words: words.to_string(), missing: None }
    }
    fn missing_field(field: &'static str) -> Self {
        Self { words: format!("missing field `{field}`"), missing: Some(field) }
    }
}

struct Listener<'a> {
    variant: &'a str,
    given: &'a Map<String, Value>,
    listen: Option<&'static str>,
    heard: &'a mut Heard,
}

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = Silence;
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Silence> {
        Err(de::Error::custom("no enum"))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Silence> {
        visitor.visit_enum(self)
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Listener<'_> {
    type Error = Silence;
    type Variant = Self;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Silence> {
        let name: StrDeserializer<'_, Silence> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Listener<'_> {
    type Error = Silence;
    fn unit_variant(self) -> Result<(), Silence> {
        Ok(())
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Silence> {
        Err(de::Error::custom("a command is a struct variant"))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Silence> {
        Err(de::Error::custom("a command is a struct variant"))
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Silence> {
        self.heard.names = fields;
        let Self { given, listen, heard, .. } = self;
        visitor.visit_map(Fields { given: given.iter(), value: None, listen, heard })
    }
}

struct Fields<'a> {
    given: serde_json::map::Iter<'a>,
    value: Option<&'a Value>,
    listen: Option<&'static str>,
    heard: &'a mut Heard,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Silence;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Silence> {
        let name = match self.given.next() {
            Some((name, value)) => {
                self.value = Some(value);
                name.as_str()
            }
            None => match self.listen {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        let name: StrDeserializer<'_, Silence> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Silence> {
        match self.value.take() {
            None => seed.deserialize(Kind(self.heard)),
            Some(value) => seed.deserialize(value.clone()).map_err(|error| {
                self.heard.refusal = Some(error.to_string());
                de::Error::custom(error)
            }),
        }
    }
}

/// In a value's place: hears what is asked of it.
struct Kind<'a>(&'a mut Heard);

macro_rules! hears {
    ($($($method:ident)+ => $kind:expr),+ $(,)?) => {$($(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Silence> {
            let kind: fn(&dyn Expected) -> FieldKind = $kind;
            self.0.kind = Some(kind(&visitor));
            Err(de::Error::custom("heard"))
        }
    )+)+};
}

impl<'de> Deserializer<'de> for Kind<'_> {
    type Error = Silence;
    hears! {
        deserialize_any deserialize_ignored_any => |_| FieldKind::Any,
        deserialize_bool => |_| FieldKind::Boolean,
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 => |_| FieldKind::Integer,
        deserialize_f32 deserialize_f64 => |_| FieldKind::Number,
        deserialize_char deserialize_str deserialize_string deserialize_identifier => |expected| {
            if expected.to_string().contains("UUID") { FieldKind::Uuid } else { FieldKind::Text }
        },
        deserialize_bytes deserialize_byte_buf deserialize_seq => |_| FieldKind::List,
        deserialize_unit deserialize_map => |_| FieldKind::Object,
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Silence> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Silence> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Silence> {
        self.0.kind = Some(FieldKind::Word(words));
        Err(de::Error::custom("heard"))
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Silence> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Silence> {
        self.deserialize_map(visitor)
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Silence> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Silence> {
        self.deserialize_seq(visitor)
    }
}

#[cfg(test)]
mod tests;
