//! One released file as data: what the generator understands of Avro, and nothing more.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// One revision of one event's payload.
pub(crate) struct Schema {
    /// Path below the package, for messages.
    pub(crate) path: String,
    /// Event type and version as the file's name says.
    pub(crate) event_type: String,
    pub(crate) major: u16,
    pub(crate) revision: u16,
    /// First 31 bits of the SHA-256 of the file's bytes.
    pub(crate) id: u32,
    /// Name of the struct: the event type's last part in CamelCase.
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) privileged: bool,
    pub(crate) fields: Vec<Field>,
    /// Envelope and payload as one Avro schema.
    pub(crate) writer_schema: String,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) ty: Type,
    pub(crate) default: Option<Value>,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Type {
    Boolean,
    Int,
    Long,
    Double,
    String,
    Timestamp,
    /// The newtype in `annals_model::ids`.
    Uuid(&'static str),
    Enum(Enumeration),
    Nullable(Box<Type>),
}

#[derive(Clone, PartialEq)]
pub(crate) struct Enumeration {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) symbols: Vec<String>,
    pub(crate) default: String,
}

impl Type {
    pub(crate) fn enumeration(&self) -> Option<&Enumeration> {
        match self {
            Self::Enum(enumeration) => Some(enumeration),
            Self::Nullable(inner) => inner.enumeration(),
            _ => None,
        }
    }

    pub(crate) fn is_double(&self) -> bool {
        match self {
            Self::Double => true,
            Self::Nullable(inner) => inner.is_double(),
            _ => false,
        }
    }
}

/// Reads one file. `file` is its name without `.avsc`: `application.registered.v1.1`.
pub(crate) fn parse(path: &str, file: &str, bytes: &[u8], envelope: &Map<String, Value>) -> Result<Schema, String> {
    let (event_type, major, revision) = split_name(file)
        .ok_or_else(|| format!("{path}: name is not <event>.v<major>.avsc or <event>.v<major>.<revision>.avsc"))?;
    let json: Value = serde_json::from_slice(bytes).map_err(|error| format!("{path}: {error}"))?;
    let record = json.as_object().ok_or_else(|| format!("{path}: not a record"))?;
    let text = |key: &str| {
        record.get(key).and_then(Value::as_str).ok_or_else(|| format!("{path}: {key:?} is missing or no string"))
    };
    let flag = |key: &str, default| record.get(key).map_or(Some(default), Value::as_bool);
    let (Some(privileged), Some(has_envelope)) = (flag("privileged", false), flag("envelope", true)) else {
        return Err(format!("{path}: \"privileged\" or \"envelope\" is no boolean"));
    };
    let wire_name = text("event_type")?;
    if wire_name.trim_start_matches('$') != event_type {
        return Err(format!("{path}: the file's name says {event_type:?}, its event_type says {wire_name:?}"));
    }
    let name = camel_case(event_type.rsplit('.').next().unwrap_or_default());
    if text("type")? != "record" || text("name")? != name {
        return Err(format!("{path}: must be a record of the name {name:?}"));
    }
    let fields = record.get("fields").and_then(Value::as_array).ok_or_else(|| format!("{path}: has no fields"))?;
    Ok(Schema {
        path: path.to_owned(),
        event_type: wire_name.to_owned(),
        major,
        revision,
        id: schema_id(bytes),
        doc: text("doc")?.to_owned(),
        privileged,
        fields: fields.iter().map(|field| parse_field(path, field)).collect::<Result<_, _>>()?,
        writer_schema: if has_envelope { writer_schema(envelope, record, major) } else { sorted(json.clone()) },
        name,
    })
}

pub(crate) fn schema_id(bytes: &[u8]) -> u32 {
    let digest = Sha256::digest(bytes);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 1
}

/// `application.registered.v1.1` → event type, major version, revision.
fn split_name(file: &str) -> Option<(&str, u16, u16)> {
    let (event_type, version) = file.rsplit_once(".v")?;
    let (major, revision) = version.split_once('.').unwrap_or((version, "0"));
    let (major, revision): (u16, u16) = (major.parse().ok()?, revision.parse().ok()?);
    let canonical = if revision == 0 { format!("{major}") } else { format!("{major}.{revision}") };
    (major > 0 && canonical == version).then_some((event_type, major, revision))
}

fn parse_field(path: &str, field: &Value) -> Result<Field, String> {
    let text = |key: &str| {
        let value = field.get(key).and_then(Value::as_str);
        value.map(str::to_owned).ok_or_else(|| format!("{path}: a field has no {key:?}: {field}"))
    };
    let name = text("name")?;
    let ty = field
        .get("type")
        .and_then(|ty| parse_type(&name, ty))
        .ok_or_else(|| format!("{path}: field {name:?} has a type that the generator does not know: {field}"))?;
    Ok(Field { doc: text("doc")?, default: field.get("default").cloned(), name, ty })
}

fn parse_type(field: &str, ty: &Value) -> Option<Type> {
    match ty {
        Value::String(name) => Some(match name.as_str() {
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "double" => Type::Double,
            "string" => Type::String,
            "annals.Uuid" => Type::Uuid(id_newtype(field)),
            _ => return None,
        }),
        Value::Array(branches) => match branches.as_slice() {
            [null, inner] if null == "null" => match parse_type(field, inner)? {
                Type::Nullable(_) => None,
                inner => Some(Type::Nullable(Box::new(inner))),
            },
            _ => None,
        },
        Value::Object(object) => {
            let text = |key: &str| object.get(key).and_then(Value::as_str);
            match (text("type")?, text("logicalType")) {
                ("long", Some("timestamp-micros")) => Some(Type::Timestamp),
                ("fixed", Some("uuid")) => (*ty == uuid_definition()).then(|| Type::Uuid(id_newtype(field))),
                ("enum", None) => parse_enum(object).map(Type::Enum),
                _ => None,
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn parse_enum(object: &Map<String, Value>) -> Option<Enumeration> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let symbols = object.get("symbols")?.as_array()?.iter().map(|symbol| symbol.as_str().map(str::to_owned));
    let enumeration = Enumeration {
        name: text("name")?,
        doc: text("doc")?,
        symbols: symbols.collect::<Option<_>>()?,
        default: text("default")?,
    };
    enumeration.symbols.contains(&enumeration.default).then_some(enumeration)
}

/// The one definition of a uuid on the wire; a second use in one file is `"annals.Uuid"`.
fn uuid_definition() -> Value {
    json!({"type": "fixed", "name": "Uuid", "namespace": "annals", "size": 16, "logicalType": "uuid"})
}

fn id_newtype(field: &str) -> &'static str {
    match field {
        "workspace_id" => "WorkspaceId",
        "tenant_id" => "TenantId",
        "user_id" => "UserId",
        "event_id" => "EventId",
        "operation_id" => "OperationId",
        _ => "AggregateId",
    }
}

/// Envelope fields first, payload last: what decodes a whole record.
fn writer_schema(envelope: &Map<String, Value>, payload: &Map<String, Value>, major: u16) -> String {
    let mut record = payload.clone();
    let name = payload["name"].as_str().unwrap_or_default();
    record.insert("name".to_owned(), json!(format!("{name}Event")));
    record.insert("event_version".to_owned(), json!(major));
    let mut fields = envelope["fields"].as_array().cloned().unwrap_or_default();
    // Avro allows one definition of a name; the envelope has it.
    let mut payload = Value::Object(payload.clone());
    refer_to_uuid(&mut payload);
    fields.push(json!({"name": "payload", "doc": "What happened.", "type": payload}));
    record.insert("fields".to_owned(), Value::Array(fields));
    sorted(Value::Object(record))
}

fn refer_to_uuid(value: &mut Value) {
    if *value == uuid_definition() {
        *value = json!("annals.Uuid");
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(refer_to_uuid),
        Value::Object(members) => members.values_mut().for_each(refer_to_uuid),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The same text whatever features serde_json was built with: it goes into the log.
fn sorted(mut value: Value) -> String {
    value.sort_all_objects();
    value.to_string()
}

/// `version_released` → `VersionReleased`.
pub(crate) fn camel_case(snake: &str) -> String {
    snake
        .split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect()
}
