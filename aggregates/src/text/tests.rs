use proptest::prelude::*;

use super::*;

type Short = Line<5>;

#[test]
fn a_line_is_trimmed_and_bounded_in_characters() {
    assert_eq!(" née ".parse::<Short>().unwrap().as_str(), "née");
    assert_eq!("éééée".parse::<Short>().unwrap().as_str(), "éééée");
    assert_eq!(" \t ".parse::<Short>(), Err(TextError::Empty { max: 5 }));
    assert_eq!("abcdef".parse::<Short>(), Err(TextError::TooLong { chars: 6, max: 5 }));
    assert_eq!("a\nb".parse::<Short>(), Err(TextError::Invisible('\n')));
}

#[test]
fn a_line_has_one_form_and_nothing_that_nobody_sees() {
    assert_eq!("e\u{301}".parse::<Short>().unwrap().as_str(), "\u{e9}");
    // Counted in the form in which it is recorded.
    assert!("e\u{301}".repeat(5).parse::<Short>().is_ok());
    for (bad, character) in [("a\u{200b}b", '\u{200b}'), ("a\u{202e}b", '\u{202e}'), ("\u{feff}a", '\u{feff}')] {
        assert_eq!(bad.parse::<Short>(), Err(TextError::Invisible(character)), "{bad:?}");
    }
    assert_eq!(TextError::Invisible('\u{200b}').to_string(), "contains U+200B, which nobody sees; remove it");
    assert_eq!("\u{200b}".parse::<Short>(), Err(TextError::Invisible('\u{200b}')));
    for nothing in ["\u{301}", "\u{2800}"] {
        assert_eq!(nothing.parse::<Short>(), Err(TextError::Blank), "{nothing:?}");
    }
}

#[test]
fn prose_may_have_line_breaks() {
    assert_eq!(" a\nb\n".parse::<Note>().unwrap().as_str(), "a\nb");
    assert_eq!("".parse::<Note>(), Err(TextError::Empty { max: limits::NOTE_CHARS_MAX }));
    let long = "x".repeat(limits::NOTE_CHARS_MAX + 1);
    assert!(matches!(long.parse::<Note>(), Err(TextError::TooLong { .. })));
}

#[test]
fn a_slug_is_lower_case_letters_digits_and_hyphens() {
    assert_eq!("core-banking-2".parse::<Slug>().unwrap().as_str(), "core-banking-2");
    for bad in ["Core", "a b", " a", "a_b", "é"] {
        assert_eq!(bad.parse::<Slug>(), Err(TextError::Slug), "{bad:?}");
    }
    for bad in ["-", "--", "-a", "a-"] {
        assert_eq!(bad.parse::<Slug>(), Err(TextError::SlugEnds), "{bad:?}");
    }
    for id in
        ["0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f", "0190a5d27e5c7cc398c4dc0c0c07398f", "00000000000000000000000000000000"]
    {
        assert_eq!(id.parse::<Slug>(), Err(TextError::SlugIsId), "{id:?}");
    }
    assert!("x".repeat(limits::SLUG_CHARS_MAX).parse::<Slug>().is_ok());
    assert!("x".repeat(limits::SLUG_CHARS_MAX + 1).parse::<Slug>().is_err());
    assert_eq!("".parse::<Slug>(), Err(TextError::Empty { max: limits::SLUG_CHARS_MAX }));
}

proptest! {
    #[test]
    fn what_was_accepted_once_is_accepted_unchanged(text: String) {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.as_str().parse::<Name>(), Ok(name));
        }
    }
}
