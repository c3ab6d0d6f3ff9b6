//! The layers of a configuration: file, environment, flags, the later over the earlier, each value with its origin.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::{Table, Value};

use super::error::ConfigError;
use super::flags::Given;
use super::key::Key;
use super::origin::Origin;

/// What follows in a name is a setting of librdkafka.
const CLIENT: &str = "log.client.";
/// The same in the environment.
const CLIENT_VARIABLE: &str = "ANNALS_LOG_CLIENT_";

/// A value as it was written, and by whom.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl fmt::Debug for Setting {
    /// Without the text, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// All that was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) own: BTreeMap<Key, Setting>,
    /// Settings of librdkafka, by its names.
    pub(super) client: BTreeMap<String, Setting>,
}

impl Settings {
    /// Adds a file's.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let malformed = |cause: String| ConfigError::Malformed { path: path.to_owned(), cause };
        let table: Table = toml::from_str(text).map_err(|error| malformed(error.to_string().trim_end().to_owned()))?;
        let mut found = Vec::new();
        flatten("", &table, &mut found);
        for (name, value) in found {
            let origin = Origin::File(path.to_owned());
            known(&name, &origin)?;
            let text = scalar(&value).map_err(|cause| ConfigError::Invalid {
                name: name.clone(),
                origin: origin.clone(),
                cause: cause.to_owned(),
            })?;
            let text = if Key::named(&name).is_some_and(Key::is_path) { beside(path, &text) } else { text };
            self.add(&name, Setting { text, origin })?;
        }
        Ok(())
    }

    /// Adds the environment's. Only names that begin like a section's are ours to refuse.
    pub(super) fn add_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, text) in variables {
            let origin = Origin::Variable(name.clone());
            if let Some(of_client) = name.strip_prefix(CLIENT_VARIABLE) {
                let of_client = of_client.to_lowercase().replace('_', ".");
                self.add(&format!("{CLIENT}{of_client}"), Setting { text, origin })?;
            } else if let Some(key) = Key::ALL.into_iter().find(|key| key.variable() == name) {
                self.add(key.name(), Setting { text, origin })?;
            } else if Key::ALL.into_iter().any(|key| name.starts_with(&section_variable(key))) {
                let mut known: Vec<String> = Key::ALL.into_iter().map(Key::variable).collect();
                known.push(format!("{CLIENT_VARIABLE}…"));
                return Err(ConfigError::UnknownKey { origin: Origin::Variable("ANNALS_…".to_owned()), name, known });
            }
        }
        Ok(())
    }

    /// Adds the command line's.
    pub(super) fn add_flags(&mut self, flags: Vec<Given>) -> Result<(), ConfigError> {
        flags
            .into_iter()
            .try_for_each(|Given { name, flag, text }| self.add(&name, Setting { text, origin: Origin::Flag(flag) }))
    }

    fn add(&mut self, name: &str, setting: Setting) -> Result<(), ConfigError> {
        match known(name, &setting.origin)? {
            Known::Own(key) => _ = self.own.insert(key, setting),
            Known::Client(name) => _ = self.client.insert(name.to_owned(), setting),
        }
        Ok(())
    }
}

/// What a name stands for.
enum Known<'a> {
    Own(Key),
    Client(&'a str),
}

fn known<'a>(name: &'a str, origin: &Origin) -> Result<Known<'a>, ConfigError> {
    if let Some(of_client) = name.strip_prefix(CLIENT).filter(|name| !name.is_empty()) {
        return Ok(Known::Client(of_client));
    }
    Key::named(name).map(Known::Own).ok_or_else(|| {
        let mut known: Vec<String> = Key::ALL.into_iter().map(|key| key.name().to_owned()).collect();
        known.push(format!("{CLIENT}…"));
        ConfigError::UnknownKey { origin: origin.clone(), name: name.to_owned(), known }
    })
}

/// `ANNALS_LOG_` of `log.kind`.
fn section_variable(key: Key) -> String {
    let section = key.name().split('.').next().unwrap_or_default();
    format!("ANNALS_{}_", section.to_uppercase())
}

/// Tables within tables become names with dots, so that keys of librdkafka may be quoted or not. A section without
/// keys is a name, too: it may be a misspelt one.
fn flatten(prefix: &str, table: &Table, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let is_section = Key::ALL.into_iter().any(|key| key.name().starts_with(&format!("{name}.")))
            || CLIENT.starts_with(&format!("{name}."));
        match value {
            Value::Table(inner) if !inner.is_empty() => flatten(&name, inner, found),
            Value::Table(_) if is_section => {}
            other => found.push((name, other.clone())),
        }
    }
}

fn scalar(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err("write a text, a whole number, true or false")
        }
    }
}

/// A path that a file names is relative to the file.
fn beside(file: &Path, text: &str) -> String {
    file.parent().map_or_else(|| text.to_owned(), |parent| parent.join(text).display().to_string())
}
