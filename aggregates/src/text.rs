//! Texts as commands carry them: checked once, when the command is parsed, so that the error names the field.

use std::borrow::Cow;

use annals_model::text;
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
    /// A character that nobody sees, such as a line break, one without width, or a mark of direction: remove it.
    #[error("contains U+{:04X}, which nobody sees; remove it", u32::from(*.0))]
    Invisible(char),
    /// Nothing but blanks and marks: send something that can be seen.
    #[error("shows nothing; send a text that can be seen")]
    Blank,
    /// A slug with other characters than it may have: write it in lower case, with hyphens.
    #[error("may have lower-case letters, digits and hyphens only, for instance core-banking")]
    Slug,
    /// A slug with a hyphen at an end: begin and end it with a letter or digit.
    #[error("must begin and end with a letter or digit, for instance core-banking")]
    SlugEnds,
    /// A slug that would be taken for an id where either may stand: choose another.
    #[error("reads as a uuid, and would be taken for an id; choose another, for instance core-banking")]
    SlugIsId,
}

/// One line of text: trimmed, in the form of [`text::normal_form`], with something to see in it, at most `MAX` characters,
/// none of which nobody sees.
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

/// Short name for addresses: lower-case letters and digits, hyphens between them, and no id. Not trimmed: it is an
/// identifier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Slug(String);

macro_rules! text {
    ($name:ident $([$max:ident])?, $check:expr) => {
        impl$(<const $max: usize>)? TryFrom<String> for $name$(<$max>)? {
            type Error = TextError;
            fn try_from(text: String) -> Result<Self, TextError> {
                let check: fn(&str) -> Result<Cow<'_, str>, TextError> = $check;
                let other = match check(&text)? {
                    Cow::Borrowed(checked) if checked.len() == text.len() => None,
                    checked => Some(checked.into_owned()),
                };
                Ok(Self(other.unwrap_or(text)))
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

text!(Line[MAX], |text| {
    let line = text::normal_form(text.trim());
    sized(&line, MAX)?;
    match text::invisible(&line) {
        Some(character) => Err(TextError::Invisible(character)),
        None if text::is_visible(&line) => Ok(line),
        None => Err(TextError::Blank),
    }
});
text!(Prose[MAX], |text| sized(text.trim(), MAX).map(Cow::Borrowed));
text!(Slug, |text| {
    let slug = sized(text, limits::SLUG_CHARS_MAX)?;
    if !slug.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        return Err(TextError::Slug);
    }
    if slug.starts_with('-') || slug.ends_with('-') {
        return Err(TextError::SlugEnds);
    }
    if text::reads_as_id(slug) { Err(TextError::SlugIsId) } else { Ok(Cow::Borrowed(slug)) }
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
