use std::collections::BTreeSet;

use annals_model::ids::{LogId, Partition};
use annals_model::position::{Checkpoint, ContextPartition, Offset};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// What every step makes of generation 2, by its state, beside generation 1: that one is live, and was retired where 2 is
/// the live one. A cell is the state of generation 2 afterwards, `=` if it stays as it is, and what became of others; or why
/// not. The last column is a registry that has no generation 2.
const TABLE: &str = "
    step                 | building             | ready                | live                 | retired              | failed               | none
    first start          | =                    | =                    | =                    | =                    | =                    | =
    begin                | building anew        | =, 3 building        | =, 3 building        | =, 3 building        | =, 3 building        | building
    finish, well         | ready                | wrong state          | wrong state          | wrong state          | wrong state          | not there
    finish, badly        | failed               | wrong state          | wrong state          | wrong state          | wrong state          | not there
    finish, begun anew   | changed              | changed              | changed              | changed              | changed              | not there
    verified             | = and verified       | = and verified       | = and verified       | = and verified       | = and verified       | not there
    mismatch             | = and wrong          | = and wrong          | = and wrong          | = and wrong          | = and wrong          | not there
    mismatch, begun anew | changed              | changed              | changed              | changed              | changed              | not there
    promote              | wrong state          | live, 1 retired      | already live         | live, 1 retired      | wrong state          | not there
    promote, behind      | wrong state          | behind               | already live         | behind               | wrong state          | not there
    rollback             | nothing retired      | nothing retired      | retired, 1 live      | live, 1 retired      | nothing retired      | nothing retired
    remove               | wrong state          | wrong state          | wrong state          | gone                 | gone                 | not there
    remove, seen before  | wrong state          | wrong state          | wrong state          | changed              | changed              | not there
    old, one is kept     | none                 | none                 | none                 | none                 | none                 | none
    old after promotion  | none                 | none                 | 1                    | 2                    | none                 | none
";

const STATES: [Option<GenerationState>; 6] = [
    Some(GenerationState::Building),
    Some(GenerationState::Ready),
    Some(GenerationState::Live),
    Some(GenerationState::Retired),
    Some(GenerationState::Failed),
    None,
];

type Step = fn(&Life, &Generation) -> String;

const STEPS: [(&str, Step); 15] = [
    ("first start", |life, _| match life.first_start(7, NOW) {
        Ok(None) => "=".to_owned(),
        other => panic!("{other:?}"),
    }),
    ("begin", |life, _| one(life, life.begin(7, "a test", NOW))),
    ("finish, well", |life, seen| one(life, life.finish(seen, Ok(()), NOW))),
    ("finish, badly", |life, seen| one(life, life.finish(seen, Err("full"), NOW))),
    ("finish, begun anew", |life, seen| one(life, life.finish(&before(seen), Ok(()), NOW))),
    ("verified", |life, seen| one(life, life.verified(seen, "cafe"))),
    ("mismatch", |life, seen| one(life, life.mismatch(seen, "1 row"))),
    ("mismatch, begun anew", |life, seen| one(life, life.mismatch(&before(seen), "1 row"))),
    ("promote", |life, seen| promoted(life, life.promotion(seen.id))),
    ("promote, behind", |life, seen| match life.promotion(seen.id) {
        Ok(promotion) => refused(&promotion.reaches(&at_offset(8), &at_offset(9), &[CONTEXT]).unwrap_err()),
        other => promoted(life, other),
    }),
    ("rollback", |life, _| promoted(life, life.rollback().and_then(|target| life.promotion(target)))),
    ("remove", |life, seen| one(life, life.remove(seen))),
    ("remove, seen before", |life, seen| {
        one(life, life.remove(&Generation { retired_at: Some(Timestamp(1)), ..seen.clone() }))
    }),
    ("old, one is kept", |life, _| numbers(&life.old(Keep::default(), |_| true))),
    ("old after promotion", |life, _| numbers(&life.old_after_a_promotion(Keep::default(), |_| true))),
];

const NOW: Timestamp = Timestamp(1_000);
const CONTEXT: ContextId = ContextId { number: 204, name: "test" };
const LOG: LogId = LogId(Uuid::from_u128(1));

#[test]
fn every_step_on_every_state_is_in_the_table() {
    let mut found = vec![row(&["step"].into_iter().chain(STATES.map(name)).collect::<Vec<_>>())];
    for (step, take) in STEPS {
        let cells = STATES.map(|state| {
            let seen = generation(2, state.unwrap_or(GenerationState::Building));
            take(&beside_one(state), &seen)
        });
        found.push(row(&[step].into_iter().chain(cells.iter().map(String::as_str)).collect::<Vec<_>>()));
    }
    let wanted: Vec<String> = TABLE.trim().lines().map(|line| row(&line.split('|').collect::<Vec<_>>())).collect();
    assert_eq!(found.join("\n"), wanted.join("\n"));
}

fn row(cells: &[&str]) -> String {
    cells.iter().map(|cell| format!("{:<20}", cell.trim())).collect::<Vec<_>>().join(" | ").trim().to_owned()
}

fn name(state: Option<GenerationState>) -> &'static str {
    state.map_or("none", GenerationState::name)
}

fn generation(id: u32, state: GenerationState) -> Generation {
    Generation {
        read_model: "stock".to_owned(),
        version: 1,
        id: GenerationId(id),
        state,
        started_at: Timestamp(10 * i64::from(id)),
        finished_at: None,
        retired_at: None,
        verified_digest: None,
        mismatch: None,
        reason: None,
        failure: None,
    }
}

/// Generation 2 in this state, or none, beside generation 1.
fn beside_one(state: Option<GenerationState>) -> Life {
    let first = if state == Some(GenerationState::Live) { GenerationState::Retired } else { GenerationState::Live };
    let all: Vec<_> =
        [Some(generation(1, first)), state.map(|state| generation(2, state))].into_iter().flatten().collect();
    Life::new("stock", u32::try_from(all.len()).unwrap(), all)
}

/// What had this number before.
fn before(seen: &Generation) -> Generation {
    Generation { started_at: Timestamp(seen.started_at.0 - 1), ..seen.clone() }
}

fn at_offset(offset: u64) -> Checkpoints {
    let mut checkpoints = Checkpoints::start(LOG);
    let at = ContextPartition { context: CONTEXT, partition: Partition(0) };
    checkpoints.set(at, Checkpoint { offset: Offset(offset), ..Checkpoint::default() });
    checkpoints
}

fn one(life: &Life, step: Result<Change, Refusal>) -> String {
    match step {
        Ok(change) => difference(life, &[change]),
        Err(refusal) => refused(&NotPromoted::Refused(refusal)),
    }
}

fn promoted(life: &Life, promotion: Result<Promotion, NotPromoted>) -> String {
    match promotion {
        Ok(promotion) => difference(life, &promotion.make(NOW).1),
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &NotPromoted) -> String {
    let name = match refusal {
        NotPromoted::Refused(Refusal::NoSuchGeneration { .. }) => "not there",
        NotPromoted::Refused(Refusal::WrongState { .. }) => "wrong state",
        NotPromoted::Refused(Refusal::ChangedMeanwhile { .. }) => "changed",
        NotPromoted::Refused(Refusal::NoNumberLeft { .. }) => "no number left",
        NotPromoted::AlreadyLive(_) => "already live",
        NotPromoted::Behind { .. } => "behind",
        NotPromoted::NothingRetired => "nothing retired",
    };
    name.to_owned()
}

/// What changes make of generation 2, and of the others.
fn difference(life: &Life, changes: &[Change]) -> String {
    let mut after = life.clone();
    changes.iter().for_each(|change| after.apply(change));
    let of = |life: &Life, id| life.get(GenerationId(id)).ok().cloned();
    let told = |id| match (of(life, id), of(&after, id)) {
        (before, after) if before == after => "=".to_owned(),
        (_, None) => "gone".to_owned(),
        (Some(before), Some(after)) if before.started_at != after.started_at => format!("{} anew", after.state),
        (Some(before), Some(after)) if before.state == after.state => {
            if after.mismatch.is_some() {
                "= and wrong".to_owned()
            } else {
                "= and verified".to_owned()
            }
        }
        (_, Some(after)) => after.state.to_string(),
    };
    let others = [1, 3].map(|id| (id, told(id))).into_iter().filter(|(_, told)| told != "=");
    let others = others.map(|(id, told)| format!("{id} {told}"));
    [told(2)].into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

fn numbers(generations: &[Generation]) -> String {
    if generations.is_empty() {
        return "none".to_owned();
    }
    generations.iter().map(|generation| generation.id.to_string()).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_first_start_makes_one_live_generation_and_only_of_nothing() {
    let mut life = Life::new("stock", 0, Vec::new());
    let change = life.first_start(3, NOW).unwrap().unwrap();
    let Change::Added(first) = &change else { panic!("{change:?}") };
    assert_eq!((first.id, first.version, first.state), (GenerationId(1), 3, GenerationState::Live));
    assert_eq!((first.started_at, first.finished_at), (NOW, Some(NOW)));
    life.apply(&change);
    assert_eq!(life.first_start(4, NOW), Ok(None));
    // Where everything was removed, numbers go on.
    let emptied = Life::new("stock", 4, Vec::new());
    assert_eq!(emptied.first_start(3, NOW).unwrap().unwrap().generation().id, GenerationId(5));
    // Nothing is live, but something is there.
    let building = Life::new("stock", 1, vec![generation(1, GenerationState::Building)]);
    assert_eq!(building.first_start(3, NOW), Ok(None));
}

#[test]
fn the_last_number_of_all_is_used_once() {
    let used = Life::new("stock", u32::MAX, Vec::new());
    let refusal = || Refusal::NoNumberLeft { read_model: "stock".to_owned() };
    assert_eq!(used.begin(1, "one more", NOW), Err(refusal()));
    assert_eq!(used.first_start(1, NOW), Err(refusal()));
    // A registry that counts less than it has does not use a number twice either.
    let miscounted =
        Life::new("stock", 1, vec![generation(1, GenerationState::Live), generation(8, GenerationState::Failed)]);
    assert_eq!(miscounted.begin(1, "one more", NOW).unwrap().generation().id, GenerationId(9));
}

#[test]
fn a_live_generation_of_another_log_needs_nothing() {
    let promotion = beside_one(Some(GenerationState::Ready)).promotion(GenerationId(2)).unwrap();
    let mut other = Checkpoints::start(LogId(Uuid::from_u128(2)));
    at_offset(9).iter().for_each(|(at, checkpoint)| other.set(at, checkpoint));
    assert_eq!(promotion.reaches(&at_offset(8), &other, &[CONTEXT]), Ok(()));
    // Nor does one that is ahead in a context that the target does not read.
    assert_eq!(promotion.reaches(&at_offset(8), &at_offset(9), &[]), Ok(()));
    assert!(promotion.reaches(&at_offset(8), &at_offset(9), &[CONTEXT]).is_err());
}

#[test]
fn a_rollback_goes_back_to_the_last_retired_whatever_the_clock_said() {
    let all = [1, 2, 3].map(|id| if id == 1 { GenerationState::Live } else { GenerationState::Ready });
    let all = (1..).zip(all).map(|(id, state)| generation(id, state)).collect();
    let mut life = Life::new("stock", 3, all);
    for (target, at) in [(2, 500), (3, 400), (1, 300), (2, 300), (3, 200)] {
        let (_, changes) = life.promotion(GenerationId(target)).unwrap().make(Timestamp(at));
        let was = life.live().unwrap().id;
        changes.iter().for_each(|change| life.apply(change));
        assert_eq!(life.rollback(), Ok(was), "the clock went back to {at}");
    }
}

#[test]
fn the_newest_stay_and_among_them_ones_that_a_rollback_can_go_back_to() {
    let retired = |id: u32| Generation {
        retired_at: Some(Timestamp(100 + i64::from(id))),
        ..generation(id, GenerationState::Retired)
    };
    let mut all: Vec<_> = (1..=6).map(retired).collect();
    all.extend([
        generation(7, GenerationState::Live),
        generation(8, GenerationState::Ready),
        generation(9, GenerationState::Failed),
    ]);
    let life = Life::new("stock", 9, all);
    let old =
        |keep, bad: &[u32]| numbers(&life.old(Keep::new(keep).unwrap(), |generation| !bad.contains(&generation.id.0)));
    assert_eq!(old(1, &[]), "1, 2, 3, 4, 5");
    assert_eq!(old(3, &[]), "1, 2, 3");
    assert_eq!(old(8, &[]), "none");
    // A rollback cannot go back to 6, nor to 5: so 4 stays, but not for ever beside better ones.
    assert_eq!(old(1, &[6, 5]), "1, 2, 3, 5");
    assert_eq!(old(2, &[6, 4]), "1, 2, 4");
    assert_eq!(old(1, &[1, 2, 3, 4, 5, 6]), "1, 2, 3, 4, 5");
}

/// A step of somebody, somewhere; numbers choose among the generations that there were ever.
#[derive(Clone, Debug)]
enum Any {
    FirstStart,
    Begin,
    Finish(u32, bool),
    Verified(u32),
    Mismatch(u32),
    Promote(u32),
    Rollback,
    Remove(u32),
    RemoveOld(u8),
}

fn any_step() -> impl Strategy<Value = Any> {
    let id = 1..8_u32;
    prop_oneof![
        Just(Any::FirstStart),
        Just(Any::Begin),
        (id.clone(), any::<bool>()).prop_map(|(id, well)| Any::Finish(id, well)),
        id.clone().prop_map(Any::Verified),
        id.clone().prop_map(Any::Mismatch),
        id.clone().prop_map(Any::Promote),
        Just(Any::Rollback),
        id.prop_map(Any::Remove),
        (1..3_u8).prop_map(Any::RemoveOld),
    ]
}

/// What a step makes of a life, as it is now or as somebody saw it before.
fn take(step: &Any, life: &Life, seen: &Life, at: Timestamp) -> Vec<Change> {
    let seen = |id: &u32| seen.get(GenerationId(*id)).cloned().ok();
    let promote = |promotion: Result<Promotion, NotPromoted>| promotion.ok().map(|promotion| promotion.make(at).1);
    match step {
        Any::FirstStart => life.first_start(1, at).ok().flatten().into_iter().collect(),
        Any::Begin => life.begin(2, "any", at).into_iter().collect(),
        Any::Finish(id, well) => {
            let outcome = if *well { Ok(()) } else { Err("any") };
            seen(id).and_then(|seen| life.finish(&seen, outcome, at).ok()).into_iter().collect()
        }
        Any::Verified(id) => seen(id).and_then(|seen| life.verified(&seen, "any").ok()).into_iter().collect(),
        Any::Mismatch(id) => seen(id).and_then(|seen| life.mismatch(&seen, "any").ok()).into_iter().collect(),
        Any::Promote(id) => promote(life.promotion(GenerationId(*id))).unwrap_or_default(),
        Any::Rollback => promote(life.rollback().and_then(|target| life.promotion(target))).unwrap_or_default(),
        Any::Remove(id) => seen(id).and_then(|seen| life.remove(&seen).ok()).into_iter().collect(),
        Any::RemoveOld(keep) => {
            let old = life.old(Keep::new(*keep).unwrap(), |generation| generation.mismatch.is_none());
            old.iter().map(|old| life.remove(old).unwrap()).collect()
        }
    }
}

proptest! {
    #[test]
    fn no_steps_make_two_live_use_a_number_twice_or_lose_the_last_good_one(
        steps in prop::collection::vec((any_step(), 0..4_usize, 0..50_i64), 1..60)
    ) {
        let mut known = vec![Life::new("stock", 0, Vec::new())];
        let mut used = BTreeSet::new();
        for (step, ago, at) in steps {
            let life = known.last().unwrap().clone();
            let seen = &known[known.len().saturating_sub(1 + ago)];
            let mut after = life.clone();
            for change in take(&step, &life, seen, Timestamp(at)) {
                if let Change::Added(generation) = &change {
                    prop_assert!(used.insert(generation.id), "{step:?} uses {} twice", generation.id);
                }
                after.apply(&change);
                let live = after.generations().iter().filter(|one| one.state == GenerationState::Live).count();
                prop_assert!(live <= 1, "{step:?} makes two live, if only for a moment");
                let building = after.generations().iter().filter(|one| one.state == GenerationState::Building).count();
                prop_assert!(building <= 1, "{step:?} begins two builds");
            }
            let is_good = |life: &Life| life.generations().iter().any(|generation| generation.state.is_run());
            prop_assert!(!is_good(&life) || is_good(&after), "{step:?} loses the last good one");
            prop_assert!(life.live().is_none() || after.live().is_some(), "{step:?} leaves nothing to serve");
            if let Any::RemoveOld(_) = step {
                prop_assert_eq!(life.rollback(), after.rollback(), "a rollback would go elsewhere");
                prop_assert_eq!(life.live(), after.live());
                let again = take(&step, &after, &after, Timestamp(at));
                prop_assert_eq!(again, Vec::new(), "nothing is old any more");
            }
            known.push(after);
        }
    }
}
