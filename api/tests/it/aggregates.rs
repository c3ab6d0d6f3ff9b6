use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Server, header, new_id, rename, send};

#[tokio::test]
async fn an_aggregate_shows_its_state_and_its_version_as_etag() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let path = format!("/v1/aggregates/portfolio.project/{project}?workspace_id={workspace}");
    let answer = server.get(&path).await.expect(200);
    assert_eq!(answer.header("etag"), "\"1\"");
    let state = &answer.json()["state"];
    assert_eq!((&state["name"], &state["archived"]), (&json!("Billing"), &json!(false)));
    assert_eq!(answer.json()["workspace_id"], workspace.to_string());
    for known in ["\"1\"", "W/\"1\"", "*", "\"7\", W/\"1\"", "\"a,b\" ,\"1\""] {
        let unchanged =
            send(server.request(Method::GET, &path).headers(header("if-none-match", known))).await.expect(304);
        assert_eq!((unchanged.text.as_str(), unchanged.header("etag")), ("", "\"1\""), "{known}");
    }
    let lines = server.request(Method::GET, &path).header("if-none-match", "\"7\"").header("if-none-match", "\"1\"");
    send(lines).await.expect(304);
    for other in ["\"2\"", "1", "", "\"11\"", "w/\"1\"", "\"0, 1\""] {
        send(server.request(Method::GET, &path).headers(header("if-none-match", other))).await.expect(200);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_history_comes_in_pages_and_in_order() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "n1").await;
    for n in 2..=7 {
        let body = rename(workspace, project, &format!("n{n}"));
        server.command("portfolio.project.rename", &body).await.expect(200);
    }
    let mut seen: Vec<Value> = Vec::new();
    let mut after = json!(0);
    while !after.is_null() {
        let path =
            format!("/v1/aggregates/portfolio.project/{project}/events?workspace_id={workspace}&after={after}&limit=3");
        let page = server.get(&path).await.expect(200).json();
        let events = page["events"].as_array().unwrap().clone();
        assert!((1..=3).contains(&events.len()));
        seen.extend(events);
        after = page["next_after"].clone();
    }
    let names: Vec<_> = seen.iter().map(|event| event["payload"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["n1", "n2", "n3", "n4", "n5", "n6", "n7"]);
    for (index, event) in seen.iter().enumerate() {
        assert_eq!(event["sequence"], index + 1);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_no_address_says_why() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let other = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let cases: [(String, u16, &str); 12] = [
        (format!("portfolio.project/{}?workspace_id={workspace}", Uuid::new_v4()), 404, "not-found"),
        (format!("portfolio.project/{project}?workspace_id={other}"), 404, "not-found"),
        (format!("portfolio.project/{project}/events?workspace_id={other}"), 404, "not-found"),
        (format!("portfolio.project/{project}?workspace_id={}", Uuid::new_v4()), 404, "workspace-not-found"),
        (format!("portfolio.nothing/{project}?workspace_id={workspace}"), 404, "unknown-aggregate-type"),
        (format!("project/{project}?workspace_id={workspace}"), 404, "unknown-aggregate-type"),
        (format!("portfolio.project/{project}"), 400, "invalid-parameter"),
        (format!("portfolio.project/no-uuid?workspace_id={workspace}"), 400, "invalid-parameter"),
        (format!("portfolio.project/{project}?workspace_id=x"), 400, "invalid-parameter"),
        (format!("access.workspace/{workspace}?workspace_id={workspace}"), 400, "invalid-parameter"),
        (format!("portfolio.project/{project}/events?workspace_id={workspace}&limit=0"), 400, "invalid-parameter"),
        (format!("portfolio.project/{project}/events?workspace_id={workspace}&after=-1"), 400, "invalid-parameter"),
    ];
    for (path, status, problem) in cases {
        let answer = server.get(&format!("/v1/aggregates/{path}")).await.expect(status);
        assert_eq!(answer.problem(), problem, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_tenants_thing_about_a_workspace_is_found_with_and_without_naming_it() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let body = json!({
        "client_request_id": new_id(), "workspace_id": workspace, "payload": { "user_id": Uuid::new_v4(), "role": "owner" },
    });
    let answer = server.command("access.membership.add", &body).await.expect(201);
    let path = answer.header("location").to_owned();
    server.get(&path).await.expect(200);
    server.get(&format!("{path}?workspace_id={workspace}")).await.expect(200);
    server.get(&format!("{path}?workspace_id={}", Uuid::new_v4())).await.expect(404);
    server.get(&format!("{path}/events?workspace_id={}", Uuid::new_v4())).await.expect(404);
    server.stop().await;
}

#[tokio::test]
async fn an_id_that_is_taken_in_another_workspace_tells_nothing_of_what_became_of_it_there() {
    let server = Server::start().await;
    let (here, there) = (server.workspace().await, server.workspace().await);
    let id = Uuid::new_v4();
    let add = |workspace: Uuid| {
        json!({
            "client_request_id": new_id(), "workspace_id": workspace, "aggregate_id": id,
            "payload": { "user_id": Uuid::new_v4(), "role": "member" },
        })
    };
    server.command("access.membership.add", &add(there)).await.expect(201);
    let own = server.command("access.membership.add", &add(there)).await.expect(409);
    assert_eq!(own.json()["actual_version"], 1);
    let foreign = server.command("access.membership.add", &add(here)).await.expect(409);
    assert_eq!(foreign.problem(), "already-exists");
    assert!(!foreign.text.contains("version 1") && foreign.json().get("actual_version").is_none(), "{}", foreign.text);
    let remove = json!({
        "client_request_id": new_id(), "workspace_id": here, "aggregate_id": id, "expected_version": 7, "payload": {},
    });
    assert_eq!(server.command("access.membership.remove", &remove).await.expect(404).problem(), "not-found");
    server.stop().await;
}

#[tokio::test]
async fn a_read_of_an_aggregate_takes_the_consistency_token_and_refuses_what_is_none() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let project = server.project(workspace, "Billing").await;
    let answer = server.command("portfolio.project.rename", &rename(workspace, project, "Payroll")).await.expect(200);
    let token = answer.header("consistency-token").to_owned();
    let event = answer.json()["events"][0]["event_id"].as_str().unwrap().to_owned();
    let operation = answer.json()["operation_id"].as_str().unwrap().to_owned();
    let at = server.tokens().read(&token).unwrap();
    let mut beyond = annals_model::position::PositionVector::default();
    for (_, partition, offset) in at.iter() {
        let portfolio = annals_schemas::contexts::PORTFOLIO;
        let at = annals_model::position::ContextPartition { context: portfolio, partition };
        beyond.advance(at, annals_model::position::Offset(offset.0 + 1_000));
    }
    let beyond = server.tokens().issue(&beyond);
    let state = format!("/v1/aggregates/portfolio.project/{project}?workspace_id={workspace}");
    let history = format!("/v1/aggregates/portfolio.project/{project}/events?workspace_id={workspace}");
    for path in [state.clone(), history.clone(), format!("/v1/events/{event}"), format!("/v1/operations/{operation}")] {
        server.query_at(&path, &token).await.expect(200);
        assert_eq!(
            server.query_at(&path, "nonsense").await.expect(400).problem(),
            "invalid-consistency-token",
            "{path}"
        );
    }
    for path in [state, history] {
        let refused = server.query_at(&path, &beyond).await.expect(409);
        assert_eq!(refused.problem(), "foreign-consistency-token", "{path}");
    }
    server.stop().await;
}
