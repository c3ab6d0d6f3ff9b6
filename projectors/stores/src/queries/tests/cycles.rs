//! `portfolio.cycle` against a search that needs no database.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// Least number of edges from `start` back to itself; nothing if there is no way.
fn shortest(edges: &BTreeSet<(u128, u128)>, start: u128) -> Option<usize> {
    let mut queue = VecDeque::from([(start, 0)]);
    let mut seen = BTreeSet::new();
    while let Some((node, length)) = queue.pop_front() {
        for (_, next) in edges.iter().filter(|(from, _)| *from == node) {
            if *next == start {
                return Some(length + 1);
            }
            if seen.insert(*next) {
                queue.push_back((*next, length + 1));
            }
        }
    }
    None
}

async fn generation(edges: &BTreeSet<(u128, u128)>, nodes: u128) -> Rows {
    let mut history = History::default();
    for node in 0..nodes {
        let needs: Vec<u128> = edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| *to).collect();
        application(&mut history, HERE, node, &format!("n{node}"), &needs);
    }
    Rows::of(&newest_of("portfolio"), &history).await
}

/// The cycle through `start` as pairs of numbers; checked to be one.
async fn cycle(generation: &Rows, start: u128) -> Vec<(u128, u128)> {
    let start = id(start).to_string();
    let rows = rows(&generation.live, &ask("portfolio.cycle", HERE, &[("application_id", &start)])).await;
    let number = |value: &Value| value.as_str().unwrap().parse::<uuid::Uuid>().unwrap().as_u128();
    let steps: Vec<(u128, u128)> =
        rows.iter().map(|row| (number(&row["application_id"]), number(&row["to_application_id"]))).collect();
    for (index, (row, (from, to))) in rows.iter().zip(&steps).enumerate() {
        assert_eq!(row["step"], json!(index + 1));
        assert_eq!((&row["name"], &row["to_name"]), (&json!(format!("n{from}")), &json!(format!("n{to}"))));
        assert_eq!(steps[(index + 1) % steps.len()].0, *to, "each step begins where the last one ended");
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_cycle_is_a_shortest_one_and_is_found_whenever_there_is_one(
        edges in prop::collection::btree_set((0u128..9, 0u128..9), 0..24)
    ) {
        blocking(Place::Sqlite, cycles_are_shortest(edges));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_cycle_is_a_shortest_one_and_is_found_whenever_there_is_one_in_postgres(
        edges in prop::collection::btree_set((0u128..9, 0u128..9), 0..24)
    ) {
        blocking(Place::Postgres, cycles_are_shortest(edges));
    }
}

async fn cycles_are_shortest(edges: BTreeSet<(u128, u128)>) {
    let edges: BTreeSet<_> = edges.into_iter().filter(|(from, to)| from != to).collect();
    let generation = generation(&edges, 9).await;
    for start in 0..9 {
        let steps = cycle(&generation, start).await;
        assert!(steps.iter().all(|step| edges.contains(step)));
        assert_eq!((!steps.is_empty()).then_some(steps.len()), shortest(&edges, start));
        assert_eq!(steps.first().map_or(start, |(from, _)| *from), start);
    }
}

async fn a_cycle_of_twelve_steps_is_found_and_a_longer_one_is_not_looked_for() {
    let ring = |nodes: u128| -> BTreeSet<(u128, u128)> { (0..nodes).map(|node| (node, (node + 1) % nodes)).collect() };
    assert_eq!(cycle(&generation(&ring(12), 12).await, 3).await.len(), 12);
    assert_eq!(cycle(&generation(&ring(13), 13).await, 3).await.len(), 0);
}

/// Twenty layers of which each node needs every node of the next: 8^12 paths, but few steps.
async fn the_number_of_paths_does_not_matter() {
    let layers = 20;
    let edges = (0..layers - 1)
        .flat_map(|layer| (0..8).flat_map(move |from| (0..8).map(move |to| (layer * 8 + from, (layer + 1) * 8 + to))));
    let mut edges: BTreeSet<(u128, u128)> = edges.collect();
    assert_eq!(cycle(&generation(&edges, layers * 8).await, 0).await, []);
    edges.insert((11 * 8 + 5, 0));
    assert_eq!(cycle(&generation(&edges, layers * 8).await, 0).await.len(), 12);
}

/// A start that needs 17,000 applications in a row, each of which needs the next: more steps than one query may take.
async fn a_search_that_is_not_finished_says_so_instead_of_denying_a_cycle() {
    let nodes = 17_000u128;
    let edges: BTreeSet<_> = (1..nodes).flat_map(|node| [(0, node), (node, node % (nodes - 1) + 1)]).collect();
    let mut history = History::default();
    for node in 0..nodes {
        application(&mut history, HERE, node, "n", &[]);
    }
    for (number, (from, to)) in (nodes..).zip(&edges) {
        history.push(HERE, id(number), declared(id(*from), id(*to), Kind::Data));
    }
    let generation = Rows::of(&newest_of("portfolio"), &history).await;
    let start = id(0).to_string();
    let asked = queries().answer(&ask("portfolio.cycle", HERE, &[("application_id", &start)]), &generation.live).await;
    assert_eq!(asked, Err(QueryError::TooMuchWork { query: "portfolio.cycle" }));
    let five = id(5).to_string();
    let none = ask("portfolio.cycle", HERE, &[("application_id", &five)]);
    assert_eq!(rows(&generation.live, &none).await, [] as [Value; 0]);
}

on_each_store! {
    a_cycle_of_twelve_steps_is_found_and_a_longer_one_is_not_looked_for,
    the_number_of_paths_does_not_matter,
    a_search_that_is_not_finished_says_so_instead_of_denying_a_cycle,
}
