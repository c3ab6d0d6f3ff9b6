//! Ids as people write them.

use uuid::Uuid;

/// An id in the one spelling in which all output has it: lower case, with hyphens. What a UUID may also be written as,
/// in capitals, without hyphens, in braces, can be somebody's name or slug.
pub fn id(text: &str) -> Option<Uuid> {
    text.parse::<Uuid>().ok().filter(|id| id.hyphenated().to_string() == text)
}

/// The same where nothing but an id can be meant, for the command line's parser.
pub fn only_id(text: &str) -> Result<Uuid, String> {
    match (id(text), text.parse::<Uuid>()) {
        (Some(id), _) => Ok(id),
        (None, Ok(otherwise)) => Err(format!("write the id as {otherwise}")),
        (None, Err(_)) => Err("it is no id, like 3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7".to_owned()),
    }
}

/// What else a name that nobody has may have meant.
pub fn or_id(text: &str) -> String {
    text.parse::<Uuid>().map_or_else(|_| String::new(), |id| format!("; if you mean an id, write {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling_and_the_others_are_names() {
        let text = "3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7";
        assert_eq!(id(text).map(|id| id.to_string()).as_deref(), Some(text));
        let (capitals, plain) = (text.to_uppercase(), text.replace('-', ""));
        for otherwise in [&capitals, &plain, &format!("{{{text}}}"), &format!("urn:uuid:{text}")] {
            assert_eq!(id(otherwise), None, "{otherwise}");
            assert_eq!(only_id(otherwise), Err(format!("write the id as {text}")));
            assert!(or_id(otherwise).ends_with(text));
        }
        assert!(only_id("home").is_err());
        assert_eq!(or_id("home"), "");
    }
}
