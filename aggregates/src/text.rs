//! Texts as commands carry them: checked once, when the command is parsed, so that the error names the field.

use serde::Deserialize;

use crate::limits;

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space: send a text, or leave an optional field out.
    #[error("is empty; send 1 to {max} characters")]
    Empty {
        /// The limit, characters.
        max: usize,
    },
    /// Too long: shorten it.
    #[error("has {chars} characters; send at most {max}")]
    TooLong {
        /// Characters that it has.
        chars: usize,
        /// The limit, characters.
        max: usize,
    },
    /// A line break or another control character where one line is wanted: remove it.
    #[error("contains a control character; remove it")]
    Control,
    /// A slug with other characters than it may have: write it in lower case, with hyphens.
    #[error("may have lower-case letters, digits and hyphens only, for instance core-banking")]
    Slug,
}

/// One line of text: trimmed, not empty, at most `MAX` characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Line<const MAX: usize>(String);

/// Name of a thing.
pub type Name = Line<{ limits::NAME_CHARS_MAX }>;

/// Text of any number of lines: trimmed, not empty, at most `MAX` characters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Prose<const MAX: usize>(String);

/// Remark in words.
pub type Note = Prose<{ limits::NOTE_CHARS_MAX }>;

/// Short name for addresses: lower-case letters, digits and hyphens. Not trimmed: it is an identifier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Slug(String);

macro_rules! text {
    ($name:ident $([$max:ident])?, $check:expr) => {
        impl$(<const $max: usize>)? TryFrom<String> for $name$(<$max>)? {
            type Error = TextError;
            fn try_from(text: String) -> Result<Self, TextError> {
                let check: fn(&str) -> Result<&str, TextError> = $check;
                let checked = check(&text)?;
                Ok(Self(if checked.len() == text.len() { text } else { checked.to_owned() }))
            }
        }
        impl$(<const $max: usize>)? std::str::FromStr for $name$(<$max>)? {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                text.to_owned().try_into()
            }
        }
        impl$(<const $max: usize>)? From<$name$(<$max>)?> for String {
            fn from(text: $name$(<$max>)?) -> Self {
                text.0
            }
        }
        impl$(<const $max: usize>)? $name$(<$max>)? {
            /// The text as events carry it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text!(Line[MAX], |text| match sized(text.trim(), MAX)? {
    line if line.contains(char::is_control) => Err(TextError::Control),
    line => Ok(line),
});
text!(Prose[MAX], |text| sized(text.trim(), MAX));
text!(Slug, |text| match sized(text, limits::SLUG_CHARS_MAX)? {
    slug if slug.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) => Ok(slug),
    _ => Err(TextError::Slug),
});

fn sized(text: &str, max: usize) -> Result<&str, TextError> {
    match text.chars().count() {
        0 => Err(TextError::Empty { max }),
        chars if chars > max => Err(TextError::TooLong { chars, max }),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests;
