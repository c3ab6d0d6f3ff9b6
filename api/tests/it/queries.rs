use std::time::Duration;

use annals_engine::sink::Checkpoints;
use annals_model::ids::Partition;
use annals_model::position::{Checkpoint, ContextPartition, Offset};
use annals_schemas::contexts::PORTFOLIO;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::server::{Server, header, new_id, rename, send};

/// Twelve projects of a new workspace, and the token of the last.
async fn twelve_projects(server: &Server) -> (Uuid, String) {
    let workspace = server.workspace().await;
    let mut token = String::new();
    for n in 0..12 {
        let payload = json!({ "name": format!("project {n:02}") });
        let body = json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": payload });
        let answer = server.command("portfolio.project.create", &body).await.expect(201);
        token = answer.header("consistency-token").to_owned();
    }
    (workspace, token)
}

#[tokio::test]
async fn a_query_under_an_answers_token_shows_what_was_written() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n0").await;
    for n in 1..20 {
        let body = rename(workspace, project, &format!("n{n}"));
        let token =
            server.command("portfolio.project.rename", &body).await.expect(200).json()["consistency_token"].clone();
        let path = format!("/v1/queries/portfolio.projects?workspace_id={workspace}");
        let answer = server.query_at(&path, token.as_str().unwrap()).await.expect(200);
        let page = answer.json();
        assert_eq!(page["rows"][0]["name"], format!("n{n}"));
        assert_eq!((&page["query"], &page["read_model"]), (&json!("portfolio.projects"), &json!("portfolio")));
        assert!(page["version"].is_u64() && page["generation"].is_u64());
        assert_eq!(answer.header("consistency-token"), page["consistency_token"]);
        // What the answer stands for is a token like any other.
        server.query_at(&path, answer.header("consistency-token")).await.expect(200);
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_follow_each_other_and_their_cursors_are_bound_to_the_question() {
    let server = Server::start().await;
    let (workspace, token) = twelve_projects(&server).await;
    let path = format!("/v1/queries/portfolio.projects?workspace_id={workspace}&limit=5");
    let mut page = server.query_at(&path, &token).await.expect(200).json();
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    let mut names: Vec<Value> = Vec::new();
    loop {
        names.extend(page["rows"].as_array().unwrap().iter().map(|row| row["name"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        page = server.get(&format!("{path}&cursor={next}")).await.expect(200).json();
    }
    let all: Vec<Value> = (0..12).map(|n| format!("project {n:02}").into()).collect();
    assert_eq!(names, all);

    let other = server.workspace().await;
    let mut changed = cursor.clone().into_bytes();
    changed[4] = if changed[4] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let query = "/v1/queries/portfolio.projects";
    for wrong in [
        format!("{query}?workspace_id={workspace}&cursor=nonsense"),
        format!("{query}?workspace_id={workspace}&cursor={changed}"),
        format!("{query}?workspace_id={workspace}&cursor="),
        format!("{query}?workspace_id={workspace}&status=active&cursor={cursor}"),
        format!("{query}?workspace_id={other}&cursor={cursor}"),
        format!("/v1/queries/portfolio.applications?workspace_id={workspace}&cursor={cursor}"),
    ] {
        let answer = server.get(&wrong).await.expect(400);
        assert_eq!(
            (answer.problem().as_str(), &answer.json()["field"]),
            ("invalid-cursor", &json!("cursor")),
            "{wrong}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_query_waits_for_its_token_no_longer_than_it_may_and_says_how_far_it_is_behind() {
    let server = Server::start().await;
    let (workspace, token) = twelve_projects(&server).await;
    let path = format!("/v1/queries/portfolio.projects?workspace_id={workspace}");
    server.query_at(&path, &token).await.expect(200);
    server.held.flowing.send_replace(false);
    let payload = json!({ "name": "late" });
    let body = json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": payload });
    // A batch that was read before may still be applied: the second one is not.
    server.command("portfolio.project.create", &body).await.expect(201);
    let body = json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": "later" } });
    let token =
        server.command("portfolio.project.create", &body).await.expect(201).header("consistency-token").to_owned();

    let behind = server.request(Method::GET, &path).header("consistency-token", &token);
    let answer = send(behind.headers(header("x-request-timeout", "50ms"))).await.expect(503);
    assert_eq!((answer.problem().as_str(), answer.header("retry-after")), ("read-model-behind", "1"));
    let part = &answer.json()["behind"][0];
    assert!(part["context"] == "portfolio" && part["offset"].as_u64() < part["needs"].as_u64(), "{part}");
    // Without a token it answers from where it is.
    server.get(&path).await.expect(200);

    let waiting = server.query_at(&path, &token);
    let (answer, _) = tokio::join!(waiting, async { server.held.flowing.send_replace(true) });
    assert_eq!(answer.expect(200).json()["rows"].as_array().unwrap().len(), 14);
    server.stop().await;
}

#[tokio::test]
async fn a_token_of_contexts_that_the_read_model_does_not_read_is_no_reason_to_wait() {
    let server = Server::start().await;
    let (workspace, token) = twelve_projects(&server).await;
    server.held.flowing.send_replace(false);
    let started = Instant::now();
    server.query_at(&format!("/v1/queries/access.memberships?workspace_id={workspace}"), &token).await.expect(200);
    assert!(started.elapsed() < Duration::from_secs(2));
    server.stop().await;
}

/// A token with one bit of its position changed.
fn flipped(token: &str) -> String {
    let mut characters: Vec<char> = token.chars().collect();
    let position = characters.len() / 2;
    characters[position] = if characters[position] == 'A' { 'B' } else { 'A' };
    characters.into_iter().collect()
}

#[tokio::test]
async fn tokens_that_no_answer_carried_are_refused() {
    let server = Server::start().await;
    let (workspace, token) = twelve_projects(&server).await;
    let other = Server::start().await;
    let (_, foreign) = twelve_projects(&other).await;
    let path = format!("/v1/queries/portfolio.projects?workspace_id={workspace}");
    let position = server.tokens().read(&token).unwrap();
    let mut beyond = annals_model::position::PositionVector::default();
    let portfolio = annals_schemas::contexts::PORTFOLIO;
    for (_, partition, offset) in position.iter() {
        let at = annals_model::position::ContextPartition { context: portfolio, partition };
        beyond.advance(at, annals_model::position::Offset(offset.0 + 1_000_000));
    }
    let nowhere =
        annals_model::position::ContextPartition { context: portfolio, partition: annals_model::ids::Partition(999) };
    let nowhere = annals_model::position::PositionVector::of(nowhere, annals_model::position::Offset(1));
    let cases = [
        (String::new(), 400, "invalid-consistency-token"),
        ("nonsense!".to_owned(), 400, "invalid-consistency-token"),
        (token[..token.len() - 1].to_owned(), 400, "invalid-consistency-token"),
        (flipped(&token), 400, "invalid-consistency-token"),
        ("A".repeat(20_000), 400, "invalid-consistency-token"),
        (foreign, 409, "foreign-consistency-token"),
        (server.tokens().issue(&beyond), 409, "foreign-consistency-token"),
        (server.tokens().issue(&nowhere), 409, "foreign-consistency-token"),
    ];
    for (wrong, status, problem) in cases {
        let answer = server.query_at(&path, &wrong).await.expect(status);
        assert_eq!(
            (answer.problem().as_str(), &answer.json()["field"]),
            (problem, &json!("Consistency-Token")),
            "{wrong}"
        );
    }
    other.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_query_is_named() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let projects = format!("portfolio.projects?workspace_id={workspace}");
    let cases: [(String, u16, &str, Option<&str>); 13] = [
        ("portfolio.nothing".to_owned(), 404, "unknown-query", None),
        ("%00".to_owned(), 404, "unknown-query", None),
        ("portfolio.projects".to_owned(), 400, "invalid-parameter", Some("workspace_id")),
        ("portfolio.projects?workspace_id=x".to_owned(), 400, "invalid-parameter", Some("workspace_id")),
        (format!("portfolio.projects?workspace_id={}", Uuid::nil()), 400, "invalid-parameter", Some("workspace_id")),
        (
            format!("portfolio.projects?workspace_id={}", Uuid::new_v4()),
            404,
            "workspace-not-found",
            Some("workspace_id"),
        ),
        (format!("{projects}&colour=red"), 400, "invalid-parameter", Some("colour")),
        (format!("{projects}&status=active&status=archived"), 400, "invalid-parameter", Some("status")),
        (format!("{projects}&status=sleepy"), 400, "invalid-parameter", Some("status")),
        (format!("{projects}&limit=0"), 400, "invalid-parameter", Some("limit")),
        (format!("{projects}&limit=501"), 400, "invalid-parameter", Some("limit")),
        (format!("{projects}&limit=99999999999"), 400, "invalid-parameter", Some("limit")),
        (format!("portfolio.applications?workspace_id={workspace}&name=%00"), 400, "invalid-parameter", Some("name")),
    ];
    for (path, status, problem, field) in cases {
        let answer = server.get(&format!("/v1/queries/{path}")).await.expect(status);
        assert_eq!(answer.problem(), problem, "{path}: {}", answer.text);
        if let Some(field) = field {
            assert_eq!(answer.json()["field"], field, "{path}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn tenants_see_their_own_rows_only() {
    let server = Server::start().await;
    let (workspace, token) = twelve_projects(&server).await;
    let path = format!("/v1/queries/portfolio.projects?workspace_id={workspace}");
    server.query_at(&path, &token).await.expect(200);
    let answer = send(server.stranger(Method::GET, &path)).await.expect(404);
    assert_eq!(answer.problem(), "workspace-not-found");
    let mine = server.query_at("/v1/queries/access.workspaces", &token).await.expect(200).json();
    assert_eq!(mine["rows"].as_array().unwrap().len(), 1);
    let theirs = send(server.stranger(Method::GET, "/v1/queries/access.workspaces")).await.expect(200).json();
    assert_eq!(theirs["rows"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn the_catalogue_describes_every_query_that_is_served() {
    let server = Server::start().await;
    let catalogue = server.get("/v1/queries").await.expect(200).json();
    let names: Vec<&str> =
        catalogue["queries"].as_array().unwrap().iter().map(|query| query["name"].as_str().unwrap()).collect();
    for name in ["access.workspaces", "access.memberships", "portfolio.projects", "portfolio.applications"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn read_models_show_their_generations_and_how_far_they_are_behind() {
    let server = Server::start().await;
    let (workspace, token) = twelve_projects(&server).await;
    server.query_at(&format!("/v1/queries/portfolio.projects?workspace_id={workspace}"), &token).await.expect(200);
    let portfolio = async || {
        let all = server.get("/v1/read-models").await.expect(200).json()["read_models"].as_array().unwrap().clone();
        all.into_iter().find(|model| model["name"] == "portfolio").unwrap()["generations"][0].clone()
    };
    let current = portfolio().await;
    assert_eq!(
        (&current["state"], &current["lag_events"], &current["lag_seconds"]),
        (&json!("live"), &json!(0), &json!(0.0))
    );
    server.held.flowing.send_replace(false);
    let project = server.project(workspace, "late").await;
    for n in 0..9 {
        let body = rename(workspace, project, &format!("late {n}"));
        server.command("portfolio.project.rename", &body).await.expect(200);
    }
    let behind = portfolio().await;
    // A batch that was read before the runner stood still may still be applied.
    assert!(behind["lag_events"].as_u64() >= Some(8) && behind["lag_events"].as_u64() <= Some(10), "{behind}");
    assert!(behind["lag_seconds"].as_f64() > Some(0.0), "{behind}");
    server.held.flowing.send_replace(true);

    let anyone = server.with_roles(Method::GET, "/v1/read-models", &[]);
    assert_eq!(send(anyone).await.expect(403).problem(), "forbidden");
    send(server.with_roles(Method::GET, "/v1/read-models", &["auditor"])).await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn a_generation_that_is_ahead_of_the_log_does_not_hide_the_others() {
    let server = Server::start().await;
    twelve_projects(&server).await;
    let live = server.store.live("portfolio").await.unwrap().unwrap();
    let model = server.store.read_models().iter().rfind(|model| model.name() == "portfolio").unwrap().clone();
    // A position that the log does not have.
    let mut position = Checkpoints::start(server.log.id());
    for partition in (0..server.log.partitions(PORTFOLIO)).map(Partition) {
        let far = Checkpoint { offset: Offset(1 << 40), ..Checkpoint::default() };
        position.set(ContextPartition { context: PORTFOLIO, partition }, far);
    }
    let (built, lock) = server.store.create(&model, "test").await.unwrap();
    server.store.open(&built).await.unwrap().bulk_finish(&model.new_rollup_totals(), &position).await.unwrap();
    server.store.finish(&built, Ok(())).await.unwrap();
    drop(lock);
    let deadline = Instant::now() + Duration::from_secs(10);
    let generations = loop {
        let all = server.get("/v1/read-models").await.expect(200).json()["read_models"].as_array().unwrap().clone();
        let portfolio = all.into_iter().find(|model| model["name"] == "portfolio").unwrap();
        if portfolio["generations"][1]["runner"]["state"] == "stopped" {
            break portfolio["generations"].clone();
        }
        assert!(Instant::now() < deadline, "the runner goes on: {portfolio}");
    };
    assert_eq!((&generations[0]["id"], &generations[0]["lag_events"]), (&json!(live.id), &json!(0)));
    assert!(generations[1]["unreadable"].as_str().unwrap().contains("the checkpoint is false"), "{generations}");
    server.stop().await;
}

#[tokio::test]
async fn a_promoted_generation_answers_the_next_query() {
    let server = Server::start().await;
    let (workspace, token) = twelve_projects(&server).await;
    let path = format!("/v1/queries/portfolio.projects?workspace_id={workspace}");
    let before = server.query_at(&path, &token).await.expect(200).json();
    let live = server.store.live("portfolio").await.unwrap().unwrap();
    let older =
        server.store.read_models().iter().find(|model| model.name() == "portfolio" && model.version() != live.version);
    let older = older.unwrap().clone();
    // Without rows, so that it can be told from the other one.
    let (built, lock) = server.store.create(&older, "test").await.unwrap();
    let position = server.store.checkpoints(&live).await.unwrap();
    server.store.open(&built).await.unwrap().bulk_finish(&older.new_rollup_totals(), &position).await.unwrap();
    server.store.finish(&built, Ok(())).await.unwrap();
    drop(lock);
    server.store.promote("portfolio", built.id).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let after = loop {
        let page = server.query_at(&path, &token).await.expect(200).json();
        if page["generation"] != before["generation"] {
            break page;
        }
        // Until this server has seen the registry: all of one generation, never a mixture.
        assert_eq!(page["rows"], before["rows"]);
        assert!(Instant::now() < deadline, "the promotion was not seen");
    };
    assert_eq!((&after["generation"], &after["version"]), (&json!(built.id), &json!(older.version())));
    assert_eq!(after["rows"], json!([]));
    server.stop().await;
}
