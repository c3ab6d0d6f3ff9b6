//! No command passes by the application's rule for workspaces, whoever sends it to the engine.

use std::sync::Arc;

use annals_engine::command::{CommandError, NotAdmitted};
use annals_engine::log::EventLog;
use annals_engine::log::memory::MemoryLog;
use annals_engine::owners::{Engine, EngineOptions};
use annals_model::application::{Admission, Application, Standing};
use annals_model::ids::{Scope, WorkspaceId};
use serde_json::json;

use crate::accounts::{BANK, application, request_in, scope};
use crate::badges::badge_request;
use crate::engine::{deadline, owner};

/// A workspace is there with its badge, and closed when that was stamped a second time.
fn guarded() -> Application {
    let standing = |state: &serde_json::Value| match state["stamps"].as_u64() {
        Some(1) => Standing::Open,
        _ => Standing::Closed,
    };
    Application { admission: Some(Admission { context: BANK, aggregate_type: "badge", standing }), ..application() }
}

#[tokio::test]
async fn a_workspace_that_is_not_there_or_closed_takes_no_command_and_answers_what_it_accepted() {
    let log: Arc<dyn EventLog> = MemoryLog::new(&[BANK]);
    let engine = Engine::start(log, &guarded(), &EngineOptions::new(owner("one"))).await.unwrap();
    let handle = engine.handle();
    let opens = |n: u128| request_in(scope(5), &format!("open-{n}"), n, "open", json!({"name": n.to_string()}));
    // The badge lies in the tenant's scope, under the workspace's own id.
    let of_tenant = Scope { workspace: WorkspaceId::NIL, ..scope(5) };
    let badge = |request: &str, command| badge_request(of_tenant, request, 5, command);

    let missing = handle.execute(opens(1), deadline()).await.unwrap_err();
    assert_eq!(missing, CommandError::NotAdmitted(NotAdmitted::NoWorkspace(scope(5).workspace)));
    assert!(missing.is_final());
    handle.execute(badge("issue", "issue"), deadline()).await.unwrap();
    handle.execute(opens(1), deadline()).await.unwrap();
    // Whoever was answered finds it closed at once, whatever is remembered of it.
    handle.execute(badge("stamp", "stamp"), deadline()).await.unwrap();
    let closed = handle.execute(opens(2), deadline()).await.unwrap_err();
    assert_eq!(closed, CommandError::NotAdmitted(NotAdmitted::Closed(scope(5).workspace)));
    assert!(handle.execute(opens(1), deadline()).await.unwrap().replayed, "what was accepted has its answer");
    engine.shutdown().await;
}
