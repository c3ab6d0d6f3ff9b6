//! Names as people see them: one form per name, and nothing in it that nobody sees.
//!
//! Two names that look alike because their letters are composed in another way, or because one has a character without
//! width, would be two names to a unique key and one to a reader.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};
use uuid::Uuid;

/// The form in which names are recorded and compared: NFC. What was recorded before names had one form is compared in it
/// all the same.
pub fn normal_form(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// The first character that a name may not have because nobody sees it: without width, a mark of direction, a control, a
/// selector of another shape of the character before it.
pub fn invisible(text: &str) -> Option<char> {
    text.chars().find(|character| is_invisible(*character))
}

/// True if there is something to see: a letter, number, sign or symbol that a mark may stand on.
pub fn is_visible(text: &str) -> bool {
    let shows = |character: char| {
        let group = character.general_category_group();
        !character.is_whitespace()
            && !is_invisible(character)
            && character != BRAILLE_BLANK
            && group != GeneralCategoryGroup::Mark
    };
    text.chars().any(shows)
}

/// True for a text that reads as an id, in whatever spelling: it would be taken for one.
pub fn reads_as_id(text: &str) -> bool {
    Uuid::try_parse(text).is_ok()
}

const BRAILLE_BLANK: char = '\u{2800}';

fn is_invisible(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    let category = character.general_category();
    matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    ) || is_ignorable(character)
}

/// What Unicode lets programs leave out (`Default_Ignorable_Code_Point`) and counts among letters and marks all the same.
fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2065}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests;
