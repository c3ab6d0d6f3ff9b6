//! The catalogue of commands: what it says is what the commands take.

use annals_platform::application;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Server, new_id};

/// A body that has all that an entry asks for, and no more.
fn body(entry: &Value, workspace: Uuid) -> Value {
    let mut body = json!({ "payload": entry["example"] });
    for needed in entry["needs"].as_array().unwrap() {
        let value = match needed.as_str().unwrap() {
            "workspace_id" => workspace.to_string(),
            "client_request_id" | "aggregate_id" => new_id(),
            other => panic!("{other} is needed, and nobody knows what it is"),
        };
        body[needed.as_str().unwrap()] = value.into();
    }
    body
}

#[tokio::test]
async fn every_command_is_taken_as_its_entry_says_and_refused_without_what_it_says_is_needed() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let catalogue = server.get("/v1/commands").await.expect(200);
    assert!(catalogue.text.ends_with('\n'));
    let catalogue = catalogue.json();
    assert_eq!(catalogue["contract_version"], "1.0");
    let entries = catalogue["commands"].as_array().unwrap();
    let known: usize = application()
        .contexts
        .iter()
        .flat_map(|context| context.aggregates().map(|kind| kind.command_names().len()).collect::<Vec<_>>())
        .sum();
    assert_eq!(entries.len(), known);
    for entry in entries {
        let command = entry["type"].as_str().unwrap();
        let sound = body(entry, workspace);
        // Well formed, whatever the rules say of it.
        let answer = server.command(command, &sound).await;
        assert!([200, 201, 404, 409, 422].contains(&answer.status.as_u16()), "{command}: {}", answer.text);
        assert_eq!(entry["creates"] == true, answer.status != 404, "{command}: {}", answer.text);
        for needed in entry["needs"].as_array().unwrap().iter().map(|needed| needed.as_str().unwrap()) {
            let mut without = sound.clone();
            without.as_object_mut().unwrap().remove(needed);
            let refused = server.command(command, &without).await.expect(400).json();
            assert_eq!(refused["field"], needed, "{command}");
        }
        for field in entry["fields"].as_array().unwrap() {
            let name = field["name"].as_str().unwrap();
            let mut without = sound.clone();
            let had = without["payload"].as_object_mut().unwrap().remove(name).is_some();
            assert_eq!(field["required"], had, "{command}: {name}");
            if had {
                let refused = server.command(command, &without).await.expect(400).json();
                assert_eq!(refused["field"], format!("payload.{name}"), "{command}");
            }
            // Of another kind than it says.
            let mut wrong = sound.clone();
            wrong["payload"][name] = if field["type"] == "list" { json!({}) } else { json!([]) };
            let refused = server.command(command, &wrong).await.expect(400).json();
            assert_eq!(refused["field"], format!("payload.{name}"), "{command}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_entry_names_types_words_and_rules() {
    let server = Server::start().await;
    let catalogue = server.get("/v1/commands").await.expect(200).json();
    let entry = |command: &str| {
        let entries = catalogue["commands"].as_array().unwrap();
        entries.iter().find(|entry| entry["type"] == command).unwrap_or_else(|| panic!("no {command}")).clone()
    };
    let register = entry("portfolio.application.register");
    assert_eq!((&register["aggregate"], &register["creates"]), (&json!("portfolio.application"), &json!(true)));
    let expected = json!([
        { "name": "name", "type": "text", "required": true, "rule": "send 1 to 200 characters" },
        { "name": "project_id", "type": "uuid", "required": false },
        { "name": "criticality", "type": "word", "required": false, "words": ["low", "medium", "high", "critical"] },
        { "name": "source", "type": "text", "required": false, "rule": "send 1 to 1000 characters" },
    ]);
    assert_eq!(register["fields"], expected);
    let assess = entry("portfolio.application.assess_risk");
    assert_eq!(
        assess["fields"][0],
        json!({ "name": "likelihood", "type": "integer", "required": true, "rule": "send 1 to 5" })
    );
    assert_eq!(assess["needs"], json!(["client_request_id", "workspace_id", "aggregate_id"]));
    server.stop().await;
}
