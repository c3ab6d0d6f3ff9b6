use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn values() -> impl Strategy<Value = Vec<OwnedValue>> {
    // Few distinct ids and short texts over few letters, so that near misses are common.
    let value = prop_oneof![
        Just(OwnedValue::Null),
        any::<bool>().prop_map(OwnedValue::Bool),
        (0..4i64).prop_map(OwnedValue::Int),
        "[\u{0}a\u{1}]{0,3}".prop_map(|text| OwnedValue::Text(text.into())),
        (0..4u128).prop_map(|id| OwnedValue::Uuid(Uuid::from_u128(id))),
        (0..4i64).prop_map(|at| OwnedValue::Timestamp(Timestamp(at))),
        (0..4i32).prop_map(|number| OwnedValue::Float(Float::new(f64::from(number) / 4.0).unwrap())),
        (0..4i64).prop_map(|number| OwnedValue::Json(format!("[{number}]").into())),
    ];
    proptest::collection::vec(value, 0..4)
}

fn key(id: u128) -> RowKey {
    RowKey { tenant: TenantId::default(), workspace: WorkspaceId::NIL, id: RowId(Uuid::from_u128(id)) }
}

fn bytes(id: u128, life: RowLife, values: &[OwnedValue]) -> Vec<u8> {
    let mut out = Vec::new();
    let values: Vec<Value<'_>> = values.iter().map(OwnedValue::as_value).collect();
    put_row(&mut out, &key(id), life, &values);
    out
}

fn life(deleted: bool) -> RowLife {
    if deleted { RowLife::Deleted } else { RowLife::Live }
}

proptest! {
    #[test]
    fn different_rows_have_different_bytes_and_no_row_is_the_start_of_another(
        (id, deleted, row) in (0..3u128, any::<bool>(), values()),
        (other_id, other_deleted, other_row) in (0..3u128, any::<bool>(), values()),
    ) {
        let one = bytes(id, life(deleted), &row);
        let other = bytes(other_id, life(other_deleted), &other_row);
        let equal = (id, deleted, row) == (other_id, other_deleted, other_row);
        prop_assert_eq!(one == other, equal);
        prop_assert!(equal || !one.starts_with(&other));
    }

    #[test]
    fn a_row_reads_back_from_its_bytes_and_from_no_part_of_them(
        (id, deleted, row) in (0..3u128, any::<bool>(), values()),
        cut in 1..40usize,
    ) {
        let bytes = bytes(id, life(deleted), &row);
        prop_assert_eq!(read_row(&bytes), Ok((key(id), life(deleted), row)));
        prop_assert_eq!(read_row(&bytes[..bytes.len() - cut]), Err(NotCanonical));
    }

    #[test]
    fn damaged_rows_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = read_row(&bytes);
    }

    #[test]
    fn moving_text_between_two_columns_changes_the_bytes(text in "[a-c]{1,6}", at in 0..6usize, to in 0..6usize) {
        let split = |at: usize| {
            let (left, right) = text.split_at(at.min(text.len()));
            bytes(1, RowLife::Live, &[OwnedValue::Text(left.into()), OwnedValue::Text(right.into())])
        };
        prop_assert_eq!(split(at) == split(to), at.min(text.len()) == to.min(text.len()));
    }
}

#[test]
fn a_table_digest_depends_on_every_row_and_on_its_life() {
    let digest = |rows: &[(u128, RowLife, i64)]| {
        let mut digest = TableDigest::new("t");
        for (id, life, value) in rows {
            digest.add(&key(*id), &bytes(*id, *life, &[OwnedValue::Int(*value)]));
        }
        (digest.rows(), digest.finish())
    };
    let base = digest(&[(1, RowLife::Live, 5), (2, RowLife::Live, 5)]);
    assert_eq!(base, digest(&[(1, RowLife::Live, 5), (2, RowLife::Live, 5)]));
    assert_eq!(base.0, 2);
    assert_ne!(TableDigest::new("t").finish(), TableDigest::new("u").finish());
    for other in [
        vec![(1, RowLife::Live, 5)],
        vec![(1, RowLife::Live, 5), (2, RowLife::Deleted, 5)],
        vec![(1, RowLife::Live, 5), (2, RowLife::Live, 6)],
        vec![(1, RowLife::Live, 5), (3, RowLife::Live, 5)],
    ] {
        assert_ne!(base.1, digest(&other).1);
    }
}

#[test]
#[should_panic(expected = "ascending key order")]
fn a_table_digest_refuses_rows_out_of_order() {
    let mut digest = TableDigest::new("t");
    digest.add(&key(2), &[]);
    digest.add(&key(1), &[]);
}

#[test]
fn the_digest_of_a_read_model_depends_on_names_counts_and_digests() {
    let of = |name, rows, byte| Digest::of_tables([(name, rows, Digest([byte; 32]))]);
    assert_eq!(of("a", 1, 7), of("a", 1, 7));
    assert_ne!(of("a", 1, 7), of("b", 1, 7));
    assert_ne!(of("a", 1, 7), of("a", 2, 7));
    assert_ne!(of("a", 1, 7), of("a", 1, 8));
    assert_eq!(of("a", 1, 7).to_string().len(), 64);
}
