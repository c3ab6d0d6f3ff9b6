//! How owners end: by a shutdown under load, and by a mistake of the domain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_engine::command::{CommandError, ReadFailure};
use annals_engine::limits;
use annals_engine::log::EventLog;
use annals_engine::log::memory::MemoryLog;
use annals_engine::owners::{Clock, Engine, EngineOptions, PartitionState, system_now};
use annals_model::position::ContextPartition;
use serde_json::json;
use tokio::time::Instant;

use crate::accounts::{BANK, address, application, scope};
use crate::buggy_log::{BuggyLog, LogBug};
use crate::engine::{deadline, owner, send, start};

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_while_clients_go_on_sending() {
    let log: Arc<dyn EventLog> = MemoryLog::new(&[BANK]);
    let engine = start(&log).await;
    let handle = engine.handle();
    send(&handle, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    let stopped = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let (handle, stopped) = (handle.clone(), Arc::clone(&stopped));
        clients.spawn(async move {
            for n in 0.. {
                // Out of step, so that some send while the append of others runs.
                for _ in 0..client {
                    tokio::task::yield_now().await;
                }
                let answer = send(&handle, &format!("{client}-{n}"), 1, "deposit", json!({"amount": 1})).await;
                match answer {
                    Ok(_) if stopped.load(Ordering::Relaxed) => return Err(format!("{client}-{n}: {answer:?}")),
                    Ok(_) => {}
                    Err(CommandError::NotOwner(_)) => return Ok(()),
                    Err(other) => return Err(format!("{client}-{n}: {other}")),
                }
            }
            Ok(())
        });
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // Each answer brings the next command: the queue is never found empty. The clock is paused, so the time runs out
    // only if nothing else can run; the rounds bound the test if something always can.
    let ending = engine.shutdown();
    tokio::pin!(ending);
    let mut rounds = 0;
    loop {
        tokio::select! {
            biased;
            () = &mut ending => break,
            () = tokio::task::yield_now() => rounds += 1,
        }
        assert!(rounds < 10_000, "the shutdown waits for clients to stop sending");
    }
    stopped.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_decision_that_panics_costs_its_own_command_only() {
    let log: Arc<dyn EventLog> = MemoryLog::new(&[BANK]);
    let engine = start(&log).await;
    let handle = engine.handle();
    send(&handle, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    let sends = ["d1", "p", "d2"].map(|id| {
        let (name, payload) = if id == "p" { ("panic", json!({})) } else { ("deposit", json!({"amount": 1})) };
        send(&handle, id, 1, name, payload)
    });
    let [first, broken, second] = <[_; 3]>::try_from(futures_util::future::join_all(sends).await).unwrap();
    assert!(matches!(&broken, Err(CommandError::Defect { aggregate_type: "account", .. })), "{broken:?}");
    assert_eq!((first.unwrap().version.0, second.unwrap().version.0), (2, 3));
    engine.shutdown().await;
}

#[tokio::test]
async fn an_owner_that_panicked_is_shown_as_stopped_and_its_partition_refused() {
    let log: Arc<dyn EventLog> = MemoryLog::new(&[BANK]);
    let broken_clock = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken_clock);
    let clock: Clock = Arc::new(move || {
        assert!(!breaks.load(Ordering::Relaxed), "the clock is broken");
        system_now()
    });
    let options = EngineOptions { clock, ..EngineOptions::new(owner("one")) };
    let engine = Engine::start(Arc::clone(&log), &application(), &options).await.unwrap();
    let handle = engine.handle();
    send(&handle, "o", 1, "open", json!({"name": "a"})).await.unwrap();
    broken_clock.store(true, Ordering::Relaxed);
    let broken = send(&handle, "d0", 1, "deposit", json!({"amount": 1})).await.unwrap_err();
    assert_eq!(broken, CommandError::Unanswered);
    let at = ContextPartition { context: BANK, partition: scope(1).slot().partition(log.partitions(BANK)) };
    let state = handle.partitions().into_iter().find(|status| status.at == at).unwrap().state;
    assert!(matches!(&state, PartitionState::Stopped { cause } if cause.contains("panic")), "{state:?}");
    let refused = send(&handle, "d", 1, "deposit", json!({"amount": 1})).await.unwrap_err();
    assert!(matches!(refused, CommandError::Stopped { .. }), "{refused:?}");
    let read = handle.aggregate(address(scope(1), 1), deadline()).await.unwrap_err();
    assert!(matches!(read, ReadFailure::Stopped { .. }), "{read:?}");
    engine.shutdown().await;
    let ended = handle.partitions().into_iter().filter(|status| status.state == PartitionState::NotOwner).count();
    assert_eq!(ended, usize::from(log.partitions(BANK)) - 1, "the others ended in good order");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_no_log_that_does_not_answer() {
    for bug in [LogBug::ClaimsNever, LogBug::AppendsNever] {
        let log = BuggyLog::around(MemoryLog::new(&[BANK]), bug);
        let engine = start(&log).await;
        let handle = engine.handle();
        let asked = tokio::spawn({
            let handle = handle.clone();
            async move { send(&handle, "o", 1, "open", json!({"name": "a"})).await }
        });
        // Until nothing moves any more: the claim, or the append, is under way.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let before = Instant::now();
        tokio::time::timeout(Duration::from_secs(60), engine.shutdown()).await.unwrap();
        assert!(before.elapsed() <= Duration::from_millis(limits::ENGINE_STOP_MS_MAX), "{bug:?}");
        let told = asked.await.unwrap().unwrap_err();
        assert!(matches!(told, CommandError::Unanswered | CommandError::NotOwner(_)), "{bug:?}: {told:?}");
        assert!(bug == LogBug::ClaimsNever || told == CommandError::Unanswered, "nobody knows what became of it");
    }
}
