use proptest::prelude::*;

use super::*;
use crate::envelope::{Record, SchemaId};
use crate::event::{Payload, Recorded};
use crate::ids::EventId;
use crate::position::{RecordOffset, Sequence};

mod stock;

use stock::*;

#[test]
fn an_event_makes_the_row_that_its_handler_says() {
    let mut tables = model().new_tables(KeyRange::ALL);
    apply(&mut tables, 1, added("a")).unwrap();
    apply(&mut tables, 1, Priced { price: 5 }).unwrap();
    let text = |text: &str| OwnedValue::Text(text.into());
    let values = vec![text("nail"), text("a"), OwnedValue::Int(5), OwnedValue::Int(3)];
    assert_eq!(rows(&tables, 0), [(key(1), RowLife::Live, values)]);
}

#[test]
fn an_event_for_a_row_that_is_not_there_is_an_error_that_names_it() {
    let mut tables = model().new_tables(KeyRange::ALL);
    let failure = apply(&mut tables, 1, Priced { price: 5 }).unwrap_err();
    assert_eq!((failure.read_model, failure.table, failure.key), ("stock", Some("items"), Some(key(1))));
    assert_eq!((failure.offset, failure.event_type.as_str()), (RecordOffset(40), "item.priced"));
    assert_eq!(failure.cause, ApplyError::Missing);
    assert!(failure.to_string().contains("offset 40 to items row"), "{failure}");
    assert_eq!(apply(&mut tables, 1, Removed {}).unwrap_err().cause, ApplyError::Missing);
    assert!(tables.is_empty());
}

#[test]
fn a_row_is_created_once_unless_it_was_deleted_between() {
    let mut tables = model().new_tables(KeyRange::ALL);
    apply(&mut tables, 1, added("a")).unwrap();
    assert_eq!(apply(&mut tables, 1, added("b")).unwrap_err().cause, ApplyError::Exists);
    apply(&mut tables, 1, Removed {}).unwrap();
    assert_eq!(apply(&mut tables, 1, Removed {}).unwrap_err().cause, ApplyError::Missing);
    assert_eq!(apply(&mut tables, 1, Priced { price: 1 }).unwrap_err().cause, ApplyError::Missing);
    apply(&mut tables, 1, added("c")).unwrap();
    assert_eq!(rows(&tables, 0)[0].1, RowLife::Live);
}

#[test]
fn a_deleted_row_leaves_a_tombstone_with_its_last_values() {
    let mut tables = model().new_tables(KeyRange::ALL);
    apply(&mut tables, 1, added("a")).unwrap();
    let before = rows(&tables, 0);
    apply(&mut tables, 1, Removed {}).unwrap();
    let after = rows(&tables, 0);
    assert_eq!((after[0].1, &after[0].2), (RowLife::Deleted, &before[0].2));
}

#[test]
fn two_events_of_one_aggregate_have_a_row_each_where_their_table_says_so() {
    let record = |number: u128| {
        let mut envelope = envelope("item.moved", id(1), 1);
        envelope.event_id = EventId(uuid::Uuid::from_u128(number));
        Record { offset: RecordOffset(1), schema: SchemaId(3), envelope, payload: &[] }
    };
    let mut keys = Keys::default();
    for number in [7, 8, 7] {
        each(&Recorded { record: &record(number), payload: () }, &mut keys);
    }
    assert_eq!(keys.ids(), [7, 8].map(|number| RowId(uuid::Uuid::from_u128(number))));
}

#[test]
fn a_route_may_name_several_rows_and_each_is_changed_once() {
    let mut tables = model().new_tables(KeyRange::ALL);
    apply(&mut tables, 1, Linked { to: id(2) }).unwrap();
    apply(&mut tables, 1, Linked { to: id(1) }).unwrap();
    let links: Vec<_> = rows(&tables, 1).into_iter().map(|(key, _, values)| (key, values)).collect();
    assert_eq!(links, [(key(1), vec![OwnedValue::Int(2)]), (key(2), vec![OwnedValue::Int(1)])]);
    let mut keys = model().new_key_sets();
    let mut payload = Vec::new();
    Linked { to: id(2) }.encode(&mut payload);
    let envelope = envelope("item.linked", id(1), 1);
    let record = Record { offset: RecordOffset(1), schema: SchemaId(5), envelope, payload: &payload };
    model().route(&record, &mut keys).unwrap();
    assert_eq!((keys.sorted(0), keys.sorted(1)), (vec![], vec![key(1), key(2)]));
}

#[test]
fn known_events_that_nobody_wants_are_skipped_and_unknown_ones_are_failures() {
    let mut tables = model().new_tables(KeyRange::ALL);
    apply(&mut tables, 1, Ignored {}).unwrap();
    assert!(tables.is_empty());
    let accepted = crate::engine_record::ACCEPTED_SCHEMA;
    apply_bytes(&mut tables, accepted, "$accepted", 1, &[]).unwrap();
    for (schema, what) in [(99, "a schema of no catalogue"), (7, "a version that is no longer read")] {
        let failure = apply_bytes(&mut tables, SchemaId(schema), "item.added", 1, &[]).unwrap_err();
        assert_eq!(failure.cause, ApplyError::UnknownSchema(SchemaId(schema)), "{what}");
    }
}

#[test]
fn a_payload_that_cannot_be_decoded_is_a_failure() {
    let mut tables = model().new_tables(KeyRange::ALL);
    let failure = apply_bytes(&mut tables, SchemaId(1), "item.added", 1, &[4, b'a']).unwrap_err();
    assert!(matches!(failure.cause, ApplyError::Decode(_)), "{failure}");
}

#[test]
fn a_read_model_describes_its_tables_events_and_contexts() {
    let model = model();
    let names: Vec<_> = model.tables().iter().map(|table| (table.name, table.kind)).collect();
    let kinds = [("items", TableKind::Rows(0)), ("links", TableKind::Rows(1)), ("shelf_totals", TableKind::Rollup(0))];
    assert_eq!(names, kinds);
    let columns: Vec<_> = model.tables()[2].columns.iter().map(|c| (c.name, c.column_type, c.nullable)).collect();
    let expected = [("shelf", ColumnType::Text), ("items", ColumnType::Int), ("value", ColumnType::Int)];
    assert_eq!(columns, expected.map(|(name, column_type)| (name, column_type, false)));
    assert!(model.tables()[0].columns[2].nullable);
    assert_eq!(model.contexts(), [SHOP]);
    assert_eq!(model.event_types().count(), 5);
    assert!(model.event_types().all(|event| (event.oldest_version, event.newest_version) == (2, 2)));
}

#[test]
#[should_panic(expected = "two tables of stock are named items")]
fn two_tables_of_one_name_are_refused() {
    let _ = model().table::<Items>();
}

#[test]
#[should_panic(expected = "rollup shelf_totals comes behind table items")]
fn a_rollup_without_its_table_is_refused() {
    let _ = ReadModel::new("stock", 1, &CATALOGUE).rollup::<ShelfTotals>();
}

#[test]
fn a_row_survives_the_way_through_its_values_and_wrong_values_are_named() {
    let row = ItemRow { name: "nail".into(), shelf: "a".into(), price: None, version: Sequence(7) };
    let mut values = Vec::new();
    row.values(&mut values);
    assert_eq!(ItemRow::from_values(&values), Ok(row.clone()));
    assert_eq!(ItemRow::from_values(&values[1..]), Err(RowError::Columns { expected: 4, found: 3 }));
    let mut wrong = values.clone();
    wrong[1] = Value::Null;
    let expected = RowError::Type { column: "shelf", expected: ColumnType::Text, found: None };
    assert_eq!(ItemRow::from_values(&wrong), Err(expected));
    wrong[1] = Value::Text("a");
    wrong[3] = Value::Int(-1);
    assert_eq!(ItemRow::from_values(&wrong), Err(RowError::Invalid { column: "version", what: "sequence" }));
}

#[test]
fn equal_parts_make_equal_row_ids_and_other_parts_others() {
    let of = |parts: &[Value<'_>]| RowId::of_parts(parts);
    assert_eq!(of(&[Value::Text("a"), Value::Int(1)]), of(&[Value::Text("a"), Value::Int(1)]));
    assert_ne!(of(&[Value::Text("a"), Value::Text("b")]), of(&[Value::Text("ab"), Value::Text("")]));
    assert_eq!(of(&[Value::Null]).0.get_version_num(), 8);
}

/// One step of a random history over few keys; those that do not fit the row's state are left out.
type Step = (u8, u8, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((0..5u8, 0..8u8, 0..3u8), 0..120)
}

fn step(tables: &mut Tables, (kind, item, value): Step) {
    let shelf = ["a", "b", "c"][usize::from(value)].to_string();
    let item = u128::from(item);
    let applied = match kind {
        0 => apply(tables, item, Added { name: "n".repeat(usize::from(value)), shelf }),
        1 => apply(tables, item, Priced { price: i64::from(value) }),
        2 => apply(tables, item, Moved { shelf }),
        3 => apply(tables, item, Removed {}),
        _ => apply(tables, item, Linked { to: id(u128::from(value)) }),
    };
    if let Err(failure) = applied {
        assert!(matches!(failure.cause, ApplyError::Missing | ApplyError::Exists), "{failure}");
    }
}

/// Totals as a map, so that deltas can be added to them.
fn add(totals: &mut std::collections::BTreeMap<RowKey, Vec<i64>>, rows: Vec<GroupRow>) {
    for row in rows {
        let sums = totals.entry(row.key).or_insert_with(|| vec![0; row.measures.len()]);
        sums.iter_mut().zip(&row.measures).for_each(|(sum, delta)| *sum += delta);
        if sums.iter().all(|sum| *sum == 0) {
            totals.remove(&row.key);
        }
    }
}

proptest! {
    #[test]
    fn rollup_deltas_of_batches_add_up_to_the_totals(batches in proptest::collection::vec(steps(), 1..6)) {
        let model = model();
        let mut tables = model.new_tables(KeyRange::ALL);
        let mut sums = std::collections::BTreeMap::new();
        for batch in batches {
            // Every second batch starts from rows as a sink would load them.
            let stored = rows(&tables, 0);
            tables.clear();
            for (key, life, values) in stored {
                let values: Vec<Value<'_>> = values.iter().map(OwnedValue::as_value).collect();
                tables.load(0, key, life, &values).unwrap();
            }
            prop_assert!(tables.changed_keys(0).is_empty() && tables.rollup_deltas(0).is_empty());
            batch.into_iter().for_each(|item| step(&mut tables, item));
            add(&mut sums, tables.rollup_deltas(0));
            tables.mark_clean();
            prop_assert!(tables.changed_keys(0).is_empty() && tables.rollup_deltas(0).is_empty());
        }
        let mut totals = std::collections::BTreeMap::new();
        add(&mut totals, tables.rollup_totals(0));
        prop_assert_eq!(sums, totals);
    }

    #[test]
    fn folding_two_key_ranges_equals_folding_all(history in steps(), bound in 0..9u128) {
        let model = model();
        let fold = |range| {
            let mut tables = model.new_tables(range);
            history.iter().for_each(|item| step(&mut tables, *item));
            tables
        };
        let all = fold(KeyRange::ALL);
        let low = fold(KeyRange { lower: None, upper: Some(key(bound)) });
        let high = fold(KeyRange { lower: Some(key(bound)), upper: None });
        for table in 0..2 {
            let parts = [rows(&low, table), rows(&high, table)].concat();
            prop_assert_eq!(parts, rows(&all, table));
        }
        let mut totals = model.new_rollup_totals();
        totals.add(&high);
        totals.add(&low);
        prop_assert_eq!(totals.rows(0), all.rollup_totals(0));
        prop_assert_eq!(low.shared_row(&high), None);
    }

    #[test]
    fn splitting_in_the_middle_of_a_fold_keeps_the_lower_rows_whole(history in steps(), at in 0..120usize) {
        let model = model();
        let mut tables = model.new_tables(KeyRange::ALL);
        let mut bound = None;
        for (index, item) in history.iter().enumerate() {
            if index == at {
                bound = tables.split_upper();
            }
            step(&mut tables, *item);
        }
        let mut expected = model.new_tables(KeyRange { lower: None, upper: bound });
        history.iter().for_each(|item| step(&mut expected, *item));
        prop_assert_eq!(tables.range().upper, bound);
        prop_assert_eq!(rows(&tables, 0), rows(&expected, 0));
        prop_assert_eq!(rows(&tables, 1), rows(&expected, 1));
    }
}

#[test]
fn splitting_halves_the_keys_and_gives_up_at_one() {
    let mut tables = model().new_tables(KeyRange::ALL);
    (0..8).for_each(|item| apply(&mut tables, item, added("a")).unwrap());
    apply(&mut tables, 0, Linked { to: id(0) }).unwrap();
    let bytes = tables.approx_bytes();
    // Nine keys, the lowest in two tables.
    assert_eq!(tables.split_upper(), Some(key(3)));
    assert!(tables.approx_bytes() <= bytes);
    assert_eq!(tables.split_upper(), Some(key(1)));
    // One key is left, in two tables.
    assert_eq!((tables.split_upper(), tables.row_count()), (None, 2));
}

#[test]
fn a_row_folded_in_two_places_is_found() {
    let mut one = model().new_tables(KeyRange::ALL);
    let mut other = model().new_tables(KeyRange::ALL);
    apply(&mut one, 1, added("a")).unwrap();
    apply(&mut other, 1, added("a")).unwrap();
    apply(&mut other, 2, added("a")).unwrap();
    let shared = Some(SharedRow { table: 0, key: key(1) });
    assert_eq!((one.shared_row(&other), other.shared_row(&one)), (shared, shared));
}

/// As version 3 was before items had prices.
fn without_price() -> ReadModel {
    model().older(2).without::<Items>(&["price"])
}

/// What is written, and loaded again, between two events.
fn reload(model: &ReadModel, tables: &mut Tables) {
    let held: Vec<_> = (0..tables.table_count()).map(|table| rows(tables, table)).collect();
    *tables = model.new_tables(KeyRange::ALL);
    for (table, rows) in held.into_iter().enumerate() {
        for (key, life, values) in rows {
            let values: Vec<Value<'_>> = values.iter().map(OwnedValue::as_value).collect();
            tables.load(table, key, life, &values).unwrap();
        }
    }
}

#[test]
fn a_column_that_is_left_out_is_neither_shown_nor_stored_and_its_row_folds_on() {
    let model = without_price();
    assert_eq!((model.name(), model.version()), ("stock", 2));
    let columns: Vec<_> = model.tables()[0].columns.iter().map(|column| column.name).collect();
    assert_eq!(columns, ["name", "shelf", "version"]);
    let mut tables = model.new_tables(KeyRange::ALL);
    apply(&mut tables, 1, added("a")).unwrap();
    apply(&mut tables, 1, Priced { price: 5 }).unwrap();
    let text = |text: &str| OwnedValue::Text(text.into());
    let expected = |shelf| vec![(key(1), RowLife::Live, vec![text("nail"), text(shelf), OwnedValue::Int(3)])];
    assert_eq!(rows(&tables, 0), expected("a"));
    reload(&model, &mut tables);
    apply(&mut tables, 1, Moved { shelf: "b".into() }).unwrap();
    assert_eq!(rows(&tables, 0), expected("b"));
    let whole = [Value::Text("nail"), Value::Text("a"), Value::Null, Value::Int(3)];
    let refused = tables.load(0, key(2), RowLife::Live, &whole);
    assert_eq!(refused, Err(RowError::Columns { expected: 3, found: 4 }));
}

#[test]
fn nothing_depends_on_a_column_that_is_left_out_wherever_its_row_was_loaded() {
    let model = without_price();
    let (mut at_once, mut in_steps) = (model.new_tables(KeyRange::ALL), model.new_tables(KeyRange::ALL));
    let mut total = model.new_rollup_totals();
    for step in 0..3 {
        for tables in [&mut at_once, &mut in_steps] {
            match step {
                0 => apply(tables, 1, added("a")).unwrap(),
                1 => apply(tables, 1, Priced { price: 5 }).unwrap(),
                _ => apply(tables, 1, Moved { shelf: "b".into() }).unwrap(),
            }
        }
        reload(&model, &mut in_steps);
    }
    // The rollup sums prices: of this version's rows there are none to sum, neither in memory nor loaded.
    assert_eq!(at_once.rollup_totals(0), in_steps.rollup_totals(0));
    total.add(&at_once);
    assert_eq!(total.rows(0)[0].measures, [1, 0]);
    assert_eq!(rows(&at_once, 0), rows(&in_steps, 0));
}

#[test]
fn a_version_that_ignores_an_event_leaves_its_rows_alone() {
    let ignoring = model().older(2).without::<Items>(&["price"]).ignoring::<Items, Priced>();
    assert!(ignoring.event_types().all(|event| event.event_type != "item.priced"));
    let mut tables = ignoring.new_tables(KeyRange::ALL);
    let mut payload = Vec::new();
    Priced { price: 5 }.encode(&mut payload);
    let record = Record {
        offset: RecordOffset(1),
        schema: SchemaId(2),
        envelope: envelope("item.priced", id(1), 1),
        payload: &payload,
    };
    // There is no row to change: whoever applied the event would say so.
    ignoring.apply(&record, &mut tables).unwrap();
    assert!(tables.is_empty());
}

#[test]
#[should_panic(expected = "table items has no column colour to leave out")]
fn a_column_that_a_row_does_not_have_cannot_be_left_out() {
    let _ = model().without::<Items>(&["colour"]);
}

#[test]
#[should_panic(expected = "table items has no column price to leave out")]
fn a_column_cannot_be_left_out_twice() {
    let _ = without_price().without::<Items>(&["price"]);
}

#[test]
#[should_panic(expected = "a column of table links stays")]
fn a_table_keeps_a_column() {
    let _ = model().without::<Links>(&["links"]);
}

#[test]
#[should_panic(expected = "table links applies no item.added")]
fn an_event_that_a_table_does_not_apply_cannot_be_ignored() {
    let _ = model().ignoring::<Links, Added>();
}

#[test]
#[should_panic(expected = "version 3 of stock is not older than 3")]
fn an_older_version_has_a_lower_number() {
    let _ = model().older(3);
}
