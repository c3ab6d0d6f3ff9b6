//! What the tool of this process's application is called. Texts are written with the platform's, `annals`.

use std::borrow::Cow;
use std::sync::OnceLock;

const WRITTEN: &str = "annals";

static NAME: OnceLock<&'static str> = OnceLock::new();

/// Says it, once, at the start of the process.
pub fn is(name: &'static str) {
    NAME.get_or_init(|| name);
}

/// Its name.
pub fn name() -> &'static str {
    NAME.get().unwrap_or(&WRITTEN)
}

/// The same text with the tool's own name wherever a command line of it stands: `annals` before a space or the end of its quotation, and behind
/// nothing that would make it part of another word.
pub fn in_own_name(text: &str) -> Cow<'_, str> {
    match name() {
        WRITTEN => Cow::Borrowed(text),
        name => Cow::Owned(named(text, name)),
    }
}

fn named(text: &str, name: &str) -> String {
    let mut own = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(WRITTEN) {
        let (before, behind) = (&rest[..at], &rest[at + WRITTEN.len()..]);
        let begins =
            before.chars().next_back().or_else(|| own.chars().next_back()).is_none_or(|c| " `\n'\"(".contains(c));
        own.push_str(before);
        own.push_str(if begins && behind.starts_with([' ', '`']) { name } else { WRITTEN });
        rest = behind;
    }
    own.push_str(rest);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tools_own_command_lines_are_renamed() {
        let text = "annals up on ./annals-data; `annals status` reads annals.toml of postgres://annals@host (annals log), and `annals` itself";
        let own = "bank up on ./annals-data; `bank status` reads annals.toml of postgres://annals@host (bank log), and `bank` itself";
        assert_eq!(named(text, "bank"), own);
        assert_eq!(in_own_name(text), text);
    }
}
