//! Commands as JSON: strict parsing, errors that name the field, and the fingerprint that tells a retry from another
//! command.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

use crate::envelope::Fingerprint;
use crate::limits;

mod canonical;
mod fields;

pub use fields::{CommandField, FieldKind, command_fields};

/// A field is wrong: where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FieldError {
    /// Path of the field, `payload.name`; `.` for the whole.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// Parses one JSON document and refuses what JSON libraries disagree about: duplicate fields, NUL, integers outside
/// i64, numbers without a finite double, depth above [`limits::JSON_DEPTH_MAX`].
pub fn parse_strict(bytes: &[u8]) -> Result<Value, FieldError> {
    let mut items_left = limits::JSON_ITEMS_MAX;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let value = Strict { depth_left: limits::JSON_DEPTH_MAX, items_left: &mut items_left }
        .deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track))
        .map_err(|error| FieldError { path: track.path().to_string(), message: error.to_string() })?;
    json.end().map_err(|error| FieldError { path: ".".to_owned(), message: error.to_string() })?;
    Ok(value)
}

/// Deserializes `{name: payload}` as `C`; errors carry the path from `payload` on.
pub fn from_named<C: DeserializeOwned>(name: &str, payload: Value) -> Result<C, FieldError> {
    let tagged = Value::Object(Map::from_iter([(name.to_owned(), payload)]));
    serde_path_to_error::deserialize(tagged).map_err(|error| {
        let inner = error.path().to_string();
        let field = inner.strip_prefix(name).unwrap_or(&inner).trim_start_matches('.');
        let path = if field.is_empty() || field == "?" { "payload".to_owned() } else { format!("payload.{field}") };
        FieldError { path, message: error.into_inner().to_string() }
    })
}

/// The canonical form of a value, as text.
pub(crate) fn canonical_text(value: &Value) -> String {
    let mut canonical = Vec::new();
    canonical::put(value, &mut canonical);
    String::from_utf8(canonical).expect("JSON is UTF-8")
}

/// Room for the canonical form of most commands, bytes.
const CANONICAL_BYTES: usize = 512;

/// SHA-256, 128 bits, over the RFC 8785 form of what a command asks, and its large integers exactly: RFC 8785 knows
/// doubles only, to which 2^53 and 2^53 + 1 are one number.
pub fn fingerprint(asked: &Value) -> Fingerprint {
    let mut canonical = Vec::with_capacity(CANONICAL_BYTES);
    canonical::put(asked, &mut canonical);
    let mut hasher = Sha256::new_with_prefix(&canonical);
    hash_large_integers(asked, &mut hasher);
    let digest = hasher.finalize();
    let mut print = [0u8; 16];
    print.copy_from_slice(&digest[..16]);
    Fingerprint(print)
}

/// Integers that a double may not hold, in the order of their sorted paths. Depth is bounded by [`parse_strict`].
fn hash_large_integers(value: &Value, hasher: &mut Sha256) {
    const INEXACT_MIN: u64 = 1 << 53;
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(integer) if integer.unsigned_abs() >= INEXACT_MIN => hasher.update(integer.to_be_bytes()),
            Some(_) | None => {}
        },
        Value::Array(items) => items.iter().for_each(|item| hash_large_integers(item, hasher)),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            fields.into_iter().for_each(|(_, value)| hash_large_integers(value, hasher));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Names of an enum's variants, as its `Deserialize` declares them.
pub fn variant_names<C: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The probe hands back the names that derive passes along, and then refuses.
    let _ = C::deserialize(VariantProbe(&mut names));
    names
}

struct VariantProbe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for VariantProbe<'_> {
    type Error = de::value::Error;
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("no enum"))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = variants;
        Err(de::Error::custom("names taken"))
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Strict<'a> {
    depth_left: usize,
    items_left: &'a mut usize,
}

impl Strict<'_> {
    fn enter<E: de::Error>(&mut self) -> Result<Strict<'_>, E> {
        if self.depth_left == 0 {
            return Err(E::custom(format_args!("nested deeper than {} levels", limits::JSON_DEPTH_MAX)));
        }
        if *self.items_left == 0 {
            return Err(E::custom(format_args!("more than {} fields and elements", limits::JSON_ITEMS_MAX)));
        }
        *self.items_left -= 1;
        Ok(Strict { depth_left: self.depth_left - 1, items_left: self.items_left })
    }
}

fn without_nul<E: de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("contains a NUL character; remove it")) } else { Ok(()) }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(value.into()),
            Err(_) => Err(E::custom("integer is outside -2^63 to 2^63-1")),
        }
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        // serde_json reads integers beyond u64 as doubles: whatever has that size is refused.
        if value.abs() >= 9_223_372_036_854_775_808.0 {
            return Err(E::custom("number is outside -2^63 to 2^63-1"));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number is not finite"))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        without_nul(text)?;
        Ok(Value::String(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(self.enter()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            without_nul(&name)?;
            let value = map.next_value_seed(self.enter()?)?;
            if fields.contains_key(&name) {
                return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
            }
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests;
