use proptest::prelude::*;

use super::*;

#[test]
fn a_name_has_one_form_however_its_letters_are_composed() {
    for (one, other) in [("é", "e\u{301}"), ("Å", "\u{212b}"), ("ự", "u\u{31b}\u{323}"), ("가", "\u{1100}\u{1161}")]
    {
        assert_eq!(normal_form(one), normal_form(other), "{one:?}");
    }
    assert!(matches!(normal_form("billing"), Cow::Borrowed(_)));
    assert!(matches!(normal_form("Größe"), Cow::Borrowed(_)));
}

#[test]
fn what_nobody_sees_is_found() {
    for invisible_one in [
        '\0',
        '\t',
        '\n',
        '\u{7f}',
        '\u{85}',
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{180e}',
        '\u{200b}',
        '\u{200c}',
        '\u{200d}',
        '\u{200e}',
        '\u{200f}',
        '\u{2028}',
        '\u{2029}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2065}',
        '\u{2066}',
        '\u{2069}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{e0001}',
        '\u{e0100}',
    ] {
        assert_eq!(invisible(&format!("a{invisible_one}b")), Some(invisible_one), "{invisible_one:?}");
        assert!(!is_visible(&invisible_one.to_string()), "{invisible_one:?}");
    }
    for sound in ["billing", "Größe 7", "名前", "اسم", "שם", "नाम", "e\u{301}", "a b", "C++", "🦀"] {
        assert_eq!(invisible(sound), None, "{sound:?}");
        assert!(is_visible(sound), "{sound:?}");
    }
    for nothing in ["", " ", "\u{a0}", "\u{2003}", "\u{301}", "\u{2800}", "\u{2800} \u{301}"] {
        assert!(!is_visible(nothing), "{nothing:?}");
    }
}

#[test]
fn a_text_that_reads_as_an_id_is_known_in_every_spelling() {
    let id = "0190a5d2-7e5c-7cc3-98c4-dc0c0c07398f";
    for spelling in
        [id.to_owned(), id.replace('-', ""), id.to_uppercase(), format!("{{{id}}}"), format!("urn:uuid:{id}")]
    {
        assert!(reads_as_id(&spelling), "{spelling}");
    }
    for name in ["billing", "0190a5d2", "-", "g190a5d27e5c7cc398c4dc0c0c07398f"] {
        assert!(!reads_as_id(name), "{name}");
    }
}

proptest! {
    #[test]
    fn the_normal_form_of_a_normal_form_is_itself(text: String) {
        let once = normal_form(&text).into_owned();
        prop_assert_eq!(normal_form(&once), once.as_str());
    }
}
