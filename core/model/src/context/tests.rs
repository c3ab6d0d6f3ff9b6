use super::*;

#[derive(Debug, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
enum Rejection {
    #[error("is retired")]
    IsRetired,
    #[error("{0} still needed")]
    StillNeeded(usize),
}

#[test]
fn a_refusal_carries_code_words_and_values() {
    let plain = refusal(&Rejection::IsRetired);
    assert_eq!((plain.code.as_str(), plain.message.as_str(), plain.details), ("is_retired", "is retired", Value::Null));
    let valued = refusal(&Rejection::StillNeeded(3));
    assert_eq!((valued.code.as_str(), valued.details), ("still_needed", 3.into()));
}
