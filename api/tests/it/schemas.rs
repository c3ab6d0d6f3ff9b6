//! The schemas as a stock Avro consumer asks for them.

use annals_schemas::CATALOGUE;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::server::{Answer, Server, send};

const REGISTERED: &str = "annals.portfolio.application.RegisteredEvent";

async fn ask(server: &Server, path: &str) -> Answer {
    // Without a token: a stock client has none.
    send(server.anonymous(Method::GET, path)).await
}

#[tokio::test]
async fn every_schema_is_found_by_its_id_without_a_token() {
    let server = Server::start().await;
    for schema in CATALOGUE.iter() {
        // Consumers name a subject that they made up from the topic.
        let path = format!("/schemas/ids/{}?subject=annals.portfolio.events-value", schema.id.0);
        let answer = ask(&server, &path).await.expect(200);
        assert_eq!(answer.header("content-type"), "application/vnd.schemaregistry.v1+json");
        assert_eq!(answer.json(), json!({ "schema": schema.writer_schema }));
        let versions = ask(&server, &format!("/schemas/ids/{}/versions", schema.id.0)).await.expect(200).json();
        let (subject, version) = (versions[0]["subject"].as_str().unwrap(), versions[0]["version"].as_u64().unwrap());
        let found = ask(&server, &format!("/subjects/{subject}/versions/{version}")).await.expect(200).json();
        assert_eq!((&found["id"], &found["schema"]), (&json!(schema.id.0), &json!(schema.writer_schema)));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_versions_of_a_subject_are_its_compatible_revisions() {
    let server = Server::start().await;
    let subjects = ask(&server, "/subjects").await.expect(200).json();
    let subjects: Vec<_> = subjects.as_array().unwrap().iter().map(|subject| subject.as_str().unwrap()).collect();
    assert!(subjects.contains(&REGISTERED) && subjects.contains(&"annals.engine.Claim"), "{subjects:?}");
    assert!(subjects.contains(&"annals.portfolio.application.RiskAssessedEvent.v2"), "{subjects:?}");
    let path = format!("/subjects/{REGISTERED}/versions");
    assert_eq!(ask(&server, &path).await.expect(200).json(), json!([1, 2]));
    let latest = ask(&server, &format!("{path}/latest")).await.expect(200).json();
    assert_eq!((&latest["version"], &latest["subject"]), (&json!(2), &json!(REGISTERED)));
    assert_eq!(
        ask(&server, "/config").await.expect(200).json(),
        json!({ "compatibilityLevel": "BACKWARD_TRANSITIVE" })
    );
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_has_the_form_that_registry_clients_know() {
    let server = Server::start().await;
    let asked = [
        ("/schemas/ids/1", 404, 40403),
        ("/schemas/ids/x", 404, 40403),
        ("/schemas/ids/99999999999", 404, 40403),
        ("/subjects/nobody/versions", 404, 40401),
        ("/subjects/nobody/versions/1", 404, 40401),
        (&format!("/subjects/{REGISTERED}/versions/3"), 404, 40402),
        (&format!("/subjects/{REGISTERED}/versions/0"), 422, 42202),
        (&format!("/subjects/{REGISTERED}/versions/first"), 422, 42202),
    ];
    for (path, status, code) in asked {
        let answer = ask(&server, path).await.expect(status).json();
        assert_eq!(answer["error_code"], code, "{path}: {answer}");
        assert!(answer["message"].is_string());
    }
    let path = format!("/subjects/{REGISTERED}/versions");
    let refused = send(server.anonymous(Method::POST, &path).json(&json!({ "schema": "\"int\"" }))).await;
    assert_eq!((refused.status, &refused.json()["error_code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(42205)));
    server.stop().await;
}
