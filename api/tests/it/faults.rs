use std::time::Duration;

use annals_engine::log::memory::{Fault, Faults, MemoryLog};
use annals_model::ids::{AggregateId, ClientRequestId, Scope, WorkspaceId};
use annals_schemas::contexts::ACCESS;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::{Server, contexts, header, rename, send, tenant, user};

#[tokio::test]
async fn an_append_that_fails_is_503_and_may_be_sent_again() {
    let log = MemoryLog::new(&contexts());
    let server = Server::start_on(log.clone()).await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    log.set_faults(Faults::scripted([Some(Fault::Abort)]));
    let body = rename(workspace, project, "n1");
    let answer = server.command("portfolio.project.rename", &body).await.expect(503);
    assert_eq!((answer.problem().as_str(), answer.header("retry-after")), ("aborted", "1"));
    assert_eq!(server.command("portfolio.project.rename", &body).await.expect(200).json()["replayed"], false);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_again_gets_each_command_once_whatever_the_log_answers() {
    let log = MemoryLog::new(&contexts());
    let server = Server::start_on(log.clone()).await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    let faults = [Fault::UnknownCommitted, Fault::UnknownLost, Fault::UnknownLate, Fault::Abort];
    for (n, fault) in (1u64..).zip(faults.into_iter().cycle().take(12)) {
        log.set_faults(Faults::scripted([Some(fault)]));
        let body = rename(workspace, project, &format!("n{n}"));
        let mut tries = 0;
        let answer = loop {
            tries += 1;
            let answer = server.command("portfolio.project.rename", &body).await;
            if answer.status.is_success() {
                break answer.json();
            }
            assert!(answer.status == 503 && tries < 20, "{fault:?}: {}", answer.text);
        };
        assert_eq!(answer["aggregate"]["version"], n + 1, "{fault:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_lost_a_partition_says_so_and_is_not_ready() {
    let log = MemoryLog::new(&contexts());
    let server = Server::start_on(log.clone()).await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    log.set_faults(Faults::scripted([Some(Fault::Fence)]));
    let answer = server.command("portfolio.project.rename", &rename(workspace, project, "n1")).await.expect(503);
    assert_eq!(answer.problem(), "not-owner");
    let ready = server.get("/readyz").await.expect(503).json();
    assert_eq!(ready["waiting_for"].as_array().unwrap().len(), 1);
    server.get("/livez").await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn a_workspace_that_is_archived_elsewhere_is_found_archived() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    let engine = server.engine();
    let kind = engine.context("access").unwrap().aggregate("workspace").unwrap();
    // Not through this server: it learns of it from the log alone.
    let archive = annals_engine::command::CommandRequest {
        context: ACCESS,
        aggregate_type: kind.aggregate_type(),
        command: kind.parse("archive", json!({})).unwrap(),
        scope: Scope::of_tenant(tenant()),
        workspace: WorkspaceId::NIL,
        aggregate_id: Some(AggregateId(workspace)),
        expected_version: None,
        client_request_id: ClientRequestId::new("elsewhere").unwrap(),
        fingerprint: annals_model::command_json::fingerprint(&Value::Null),
        actor: annals_model::ids::Actor::User(user()),
        correlation_id: None,
        causation_id: None,
        reason: None,
        adr_id: None,
        policy_decision: "test".to_owned(),
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    engine.execute(archive, deadline).await.unwrap();
    let mut n = 0;
    loop {
        n += 1;
        let body = rename(workspace, project, &format!("n{n}"));
        let answer = server.command("portfolio.project.rename", &body).await;
        if answer.status == 409 {
            assert_eq!(answer.problem(), "workspace-archived");
            break;
        }
        answer.expect(200);
        assert!(Instant::now() < deadline, "the workspace is still open");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_deadline_that_passes_leaves_the_outcome_open_and_says_so() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    let body = rename(workspace, project, "n1");
    let post = server.request(Method::POST, "/v1/commands/portfolio.project.rename");
    let answer = send(post.headers(header("x-request-timeout", "0.000001")).json(&body)).await;
    // The owner may have been quicker than a microsecond; whichever it was, the command is there once.
    if answer.status != 200 {
        assert_eq!(answer.expect(503).problem(), "unanswered");
    }
    let path = format!("/v1/aggregates/portfolio.project/{project}/events?workspace_id={workspace}");
    server.command("portfolio.project.rename", &body).await.expect(200);
    assert_eq!(server.get(&path).await.expect(200).json()["events"].as_array().unwrap().len(), 2);
    server.stop().await;
}
