//! A cluster of real processes under faults.

use annals_engine::seeded::SeededBug;
use annals_tests::cluster::bed::Bed;
use annals_tests::cluster::bugs;
use annals_tests::cluster::drills::{percentiles, require_none, roll, zombies};
use annals_tests::cluster::faults::{Schedule, Shape};
use annals_tests::cluster::world::World;
use tokio::sync::Mutex;

const SHAPE: Shape = Shape { nodes: 3, projectors: 2, brokers: 3 };
const CLIENTS: u64 = 6;

/// A cluster is a dozen processes: two of them at a time would only measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Starts a cluster, and shows what its processes wrote if something goes wrong.
async fn with_world(shape: Shape, test: impl AsyncFnOnce(&mut World) -> anyhow::Result<()>) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut world = tokio::task::block_in_place(|| World::start(shape)).unwrap();
    let outcome = test(&mut world).await;
    if let Err(error) = outcome {
        panic!("{error:#}\n{}", world.last_lines());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn clusters_under_faults_by_a_random_seed_keep_every_promise() {
    let seed: u64 = rand::random();
    println!("again: cargo run --release -p annals-tests --bin annals-schedules -- --schedules 4 --seed {seed}");
    with_world(SHAPE, async |world| {
        tokio::task::block_in_place(|| world.begin_anew(None))?;
        let mut bed = Bed::new(world).await?;
        for seed in (0..4).map(|number| seed.wrapping_add(number)) {
            let schedule = Schedule::new(seed, world.shape());
            println!("seed {seed}: {:?}", schedule.faults);
            let report = bed.run(world, seed, &schedule, CLIENTS).await?;
            assert!(report.acknowledged > 0, "nothing was acknowledged");
            require_none(&report.violations)?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_rolling_restart_is_nothing_that_a_client_with_retries_would_notice() {
    with_world(SHAPE, async |world| {
        tokio::task::block_in_place(|| world.begin_anew(None))?;
        let mut bed = Bed::new(world).await?;
        let report = roll(&mut bed, world, 1, CLIENTS).await?;
        let (p50, p99, slowest) = percentiles(&report);
        println!("{} acknowledged, p50 {p50} ms, p99 {p99} ms, slowest {slowest} ms", report.acknowledged);
        assert!(report.acknowledged > 0, "nothing was acknowledged");
        require_none(&report.violations)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn zombies_write_nothing_that_anybody_sees() {
    with_world(bugs::SHAPE, async |world| zombies(world, 0, 3).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_mistake_on_purpose_is_found_and_its_drill_is_harmless_without_it() {
    with_world(bugs::SHAPE, async |world| {
        for bug in SeededBug::ALL {
            bugs::require_found(bug, world).await?;
        }
        Ok(())
    })
    .await;
}
