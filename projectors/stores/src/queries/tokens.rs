//! A query's text, read token by token as far as its arguments go: `:name` is one, unless it stands in a string, a quoted
//! name or a comment, or belongs to a cast (`::name`). A longer name is another argument, however it begins.

/// A piece of a query's text. The pieces one after another are the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    /// Whatever stands between two arguments.
    Text(&'a str),
    /// `:name`, by its name.
    Argument(&'a str),
}

/// The pieces of a text, in order.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(name) = argument(rest) {
            rest = &rest[1 + name.len()..];
            return Some(Token::Argument(name));
        }
        let mut end = passed(rest);
        while end < rest.len() && argument(&rest[end..]).is_none() {
            end += passed(&rest[end..]);
        }
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        Some(Token::Text(piece))
    })
}

/// The name of the argument that a text begins with.
fn argument(text: &str) -> Option<&str> {
    let name = text.strip_prefix(':')?;
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let end = name.find(|character: char| !is_name(character)).unwrap_or(name.len());
    let begins_well = name.starts_with(|character: char| character.is_ascii_alphabetic() || character == '_');
    begins_well.then_some(&name[..end])
}

/// Bytes of what a text begins with and that has no argument in it: at least one character. What is not ended goes on to the
/// end of the text.
fn passed(text: &str) -> usize {
    let ended = |opens: usize, closes: &str| match text[opens..].find(closes) {
        Some(at) => opens + at + closes.len(),
        None => text.len(),
    };
    match text.as_bytes() {
        // A doubled quote inside of a string ends one and begins the next: the same for who looks for arguments.
        [b'\'', ..] => ended(1, "'"),
        [b'"', ..] => ended(1, "\""),
        [b'-', b'-', ..] => ended(2, "\n"),
        [b'/', b'*', ..] => ended(2, "*/"),
        [b':', b':', ..] => 2,
        _ => text.chars().next().map_or(0, char::len_utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<&str> {
        let all: Vec<Token<'_>> = tokens(text).collect();
        let piece = |token: &Token<'_>| match token {
            Token::Text(piece) => (*piece).to_owned(),
            Token::Argument(name) => format!(":{name}"),
        };
        let whole: String = all.iter().map(piece).collect();
        assert_eq!(whole, text, "the pieces are the text");
        all.into_iter().filter_map(|token| if let Token::Argument(name) = token { Some(name) } else { None }).collect()
    }

    #[test]
    fn an_argument_is_a_whole_name_outside_of_strings_comments_and_casts() {
        for (text, expect) in [
            ("", &[] as &[&str]),
            (":a", &["a"]),
            ("x = :application_id AND y = :application", &["application_id", "application"]),
            ("(:a,:b)-:a", &["a", "b", "a"]),
            ("'it''s :a' || :b", &["b"]),
            ("\"a:b\" = :c", &["c"]),
            ("1 -- not :a\n + :b", &["b"]),
            ("1 /* not :a */ + :b", &["b"]),
            ("x::text = :a::text", &["a"]),
            ("x[1:2]", &[]),
            ("'not ended :a", &[]),
            ("/* nor this :a", &[]),
            ("'é' = :é OR 'ü' = :u", &["u"]),
        ] {
            assert_eq!(arguments(text), expect, "{text}");
        }
    }
}
