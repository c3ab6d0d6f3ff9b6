//! Ids that an import derives from what it imports: the same input gives the same ids, so that it can be sent again.

use uuid::Uuid;

/// Namespace of all ids that imports derive. Frozen: another one would import everything a second time.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_3c1e_5a70_5d0c_8d5e_2b9a_4f70_c9d1);

/// UUIDv5 of the parts, each behind its length, so that no two lists of parts look alike.
pub(crate) fn derive(parts: &[&str]) -> Uuid {
    let mut name = String::new();
    for part in parts {
        name.push_str(&part.len().to_string());
        name.push(':');
        name.push_str(part);
    }
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_id_and_no_others_do() {
        assert_eq!(derive(&["a", "b"]), derive(&["a", "b"]));
        assert_ne!(derive(&["a", "b"]), derive(&["ab"]));
        assert_ne!(derive(&["a", "bc"]), derive(&["ab", "c"]));
        assert_eq!(derive(&["workspace", "home"]).get_version_num(), 5);
    }
}
