//! Ids that an import derives from what it imports: the same input gives the same ids, so that it can be sent again, and
//! an import knows what imports made.

use uuid::Uuid;

/// Namespace of all ids that imports derive. Frozen: another one would import everything a second time.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_3c1e_5a70_5d0c_8d5e_2b9a_4f70_c9d1);

/// UUIDv5 of the parts, each behind its length, so that no two lists of parts look alike.
pub fn derive(parts: &[&str]) -> Uuid {
    let mut name = String::new();
    for part in parts {
        name.push_str(&part.len().to_string());
        name.push(':');
        name.push_str(part);
    }
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// Tells one life of a thing from the others: the milliseconds since 1970 at which its import began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(u64);

/// An id has room for so many bits of it: enough until the year 10889.
const LIFE_BITS: u32 = 48;

impl Life {
    /// The life that begins at this time.
    pub fn at_ms(unix_ms: u64) -> Self {
        Self(unix_ms & ((1 << LIFE_BITS) - 1))
    }

    fn of(id: Uuid) -> Self {
        Self((id.as_u128() >> (128 - LIFE_BITS)) as u64)
    }
}

/// Id of a thing that had another life before, under [`derive`]'s id: a UUIDv8 that begins with the life and goes on with
/// what the parts and the life derive.
pub fn derive_again(life: Life, parts: &[&str]) -> Uuid {
    let number = life.0.to_string();
    let rest = derive(&[&["again", &number], parts].concat()).as_u128();
    let mixed = (u128::from(life.0) << (128 - LIFE_BITS)) | (rest >> LIFE_BITS);
    Uuid::new_v8(mixed.to_be_bytes())
}

/// True if an import gave this id to the thing that the parts name, in its first life or in a later one.
pub fn is_of_import(id: Uuid, parts: &[&str]) -> bool {
    id == derive(parts) || id == derive_again(Life::of(id), parts)
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

    #[test]
    fn each_life_has_an_id_of_its_own_that_tells_whose_it_is() {
        let (one, two) = (Life::at_ms(1_700_000_000_000), Life::at_ms(1_700_000_000_001));
        let id = derive_again(one, &["application", "serde"]);
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(Life::of(id), one);
        assert_ne!(id, derive_again(two, &["application", "serde"]));
        assert!(is_of_import(id, &["application", "serde"]));
        assert!(is_of_import(derive(&["application", "serde"]), &["application", "serde"]));
        assert!(!is_of_import(id, &["application", "tokio"]));
        assert!(!is_of_import(Uuid::from_u128(id.as_u128() ^ 1), &["application", "serde"]));
        assert!(!is_of_import(Uuid::new_v4(), &["application", "serde"]));
    }
}
