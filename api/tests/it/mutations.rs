use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::bad_input::RENAME;
use crate::server::{Server, rename, send};

/// Any JSON, with the words of a real command strewn in.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "\\PC{0,8}",
        prop::sample::select(vec![
            "name",
            "payload",
            "workspace_id",
            "aggregate_id",
            "client_request_id",
            "type",
            RENAME
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        Just(Value::from(Uuid::from_u128(1).to_string())),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// A change to a good command's text.
#[derive(Clone, Debug)]
enum Mutation {
    Bytes(Vec<u8>),
    Json(Value),
    Field(&'static str, Value),
    Payload(Value),
    Splice(prop::sample::Index, usize, Vec<u8>),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let fields =
        vec!["client_request_id", "workspace_id", "aggregate_id", "expected_version", "reason", "adr_id", "other"];
    let bytes = || prop::collection::vec(any::<u8>(), 0..16);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Mutation::Bytes),
        any_json().prop_map(Mutation::Json),
        (prop::sample::select(fields), any_json()).prop_map(|(field, value)| Mutation::Field(field, value)),
        any_json().prop_map(Mutation::Payload),
        (any::<prop::sample::Index>(), 0..8usize, bytes())
            .prop_map(|(at, cut, bytes)| Mutation::Splice(at, cut, bytes)),
    ]
}

impl Mutation {
    fn apply(self, mut good: Value) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => return bytes,
            Self::Json(value) => return value.to_string().into_bytes(),
            Self::Field(field, value) => good[field] = value,
            Self::Payload(value) => good["payload"] = value,
            Self::Splice(at, cut, bytes) => {
                let mut text = good.to_string().into_bytes();
                let at = at.index(text.len());
                text.splice(at..(at + cut).min(text.len()), bytes);
                return text;
            }
        }
        good.to_string().into_bytes()
    }
}

#[test]
fn no_bytes_that_a_client_sends_make_a_mistake_of_the_server() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (server, workspace, project) = runtime.block_on(async {
        let server = Server::start().await;
        let workspace = server.workspace().await;
        let project = server.project(workspace, "Billing").await;
        (server, workspace, project)
    });
    let kinds = vec![
        RENAME,
        "portfolio.application.register",
        "portfolio.application.assess_risk",
        "portfolio.dependency.declare",
        "access.workspace.create",
        "access.membership.add",
    ];
    let input = (prop::sample::select(kinds), any_mutation());
    let outcome = TestRunner::new(Config::with_cases(400)).run(&input, |(kind, mutation)| {
        let body = mutation.apply(rename(workspace, project, "Payroll"));
        runtime.block_on(async {
            let before = server.ends().await;
            let post = server.request(Method::POST, &format!("/v1/commands/{kind}"));
            let answer = send(post.header("content-type", "application/json").body(body.clone())).await;
            prop_assert!(answer.status.as_u16() < 500, "{}: {}", answer.status, answer.text);
            if answer.status.is_client_error() {
                prop_assert!(answer.json()["type"].is_string());
                prop_assert_eq!(server.ends().await, before);
            }
            for line in server.batch(body).await.lines() {
                prop_assert!(line["status"].as_u64().is_some_and(|status| status < 500), "{}", line);
            }
            Ok(())
        })
    });
    runtime.block_on(server.stop());
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
