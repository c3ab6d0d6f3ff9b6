//! Who acts, as text.

use annals_model::ids::{Actor, UserId};

use crate::id::only_id;

/// Somebody who acts, as all output writes it. A bare id is a person's.
pub(crate) fn actor(text: &str) -> Result<Actor, String> {
    match (text.strip_prefix("service:"), text.strip_prefix("user:").unwrap_or(text)) {
        (Some(""), _) => Err("a service has a name; write service:NAME".to_owned()),
        (Some(name), _) => Ok(Actor::Service(name.into())),
        (None, id) => only_id(id)
            .map(|id| Actor::User(UserId(id)))
            .map_err(|error| format!("write user:ID or service:NAME; of the id: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_taken_as_output_writes_it() {
        for text in ["user:3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7", "service:importer"] {
            assert_eq!(actor(text).map(|actor| actor.to_string()).as_deref(), Ok(text));
        }
        assert!(actor("3f2b8c1e-4e1a-4b6e-9d53-1d1c43f1a9b7").is_ok());
        for text in ["", "user:", "service:", "user:3F2B8C1E-4E1A-4B6E-9D53-1D1C43F1A9B7", "robot:x"] {
            assert!(actor(text).is_err(), "{text}");
        }
    }
}
