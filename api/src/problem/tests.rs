use std::collections::BTreeSet;

use annals_model::command_json::parse_strict;

use super::*;

#[test]
fn every_code_has_a_type_of_its_own_and_an_error_status() {
    let urns: BTreeSet<String> = Code::ALL.iter().map(|code| code.urn()).collect();
    assert_eq!(urns.len(), Code::ALL.len());
    for code in Code::ALL {
        assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
    }
}

#[test]
fn only_a_mistake_of_the_server_is_a_500() {
    let internal: Vec<_> = Code::ALL.iter().filter(|code| code.status() == StatusCode::INTERNAL_SERVER_ERROR).collect();
    assert_eq!(internal, [&Code::Internal]);
}

#[test]
fn a_problem_names_the_field_wherever_serde_put_its_name() {
    let cases = [
        ("payload", "unknown field `colour`, expected `name`", "payload.colour"),
        ("payload", "missing field `name`", "payload.name"),
        ("payload.name", "missing field `name`", "payload.name"),
        (".", "duplicate field `a` at line 1 column 9", "a"),
        ("payload.name", "invalid type: integer `1`, expected a string", "payload.name"),
        ("?", "duplicate field `a`", "a"),
    ];
    for (path, message, field) in cases {
        let error = FieldError { path: path.to_owned(), message: message.to_owned() };
        assert_eq!(Problem::from(error).to_json()["field"], field);
    }
}

#[test]
fn what_is_no_json_at_all_is_about_no_field() {
    let problem = Problem::from(parse_strict(b"{").unwrap_err());
    assert_eq!(problem.code(), Code::MalformedJson);
    assert!(!problem.to_json().contains_key("field"));
}

#[test]
fn whatever_may_be_sent_again_says_when() {
    for code in Code::ALL {
        let response = Problem::new(*code, "x").into_response();
        let unavailable = response.status() == StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(response.headers().contains_key(RETRY_AFTER), unavailable, "{code:?}");
    }
}

#[test]
fn what_a_client_sent_is_echoed_cut_with_both_ends_of_the_message_kept() {
    let huge = "ß".repeat(120_000);
    let error = FieldError { path: "payload".to_owned(), message: format!("unknown field `{huge}`, expected `name`") };
    let json = Problem::from(error).to_json();
    let (detail, field) = (json["detail"].as_str().unwrap(), json["field"].as_str().unwrap());
    assert!(detail.len() <= limits::PROBLEM_DETAIL_BYTES_MAX && field.len() <= limits::PROBLEM_FIELD_BYTES_MAX);
    assert!(detail.starts_with("payload.ß") && detail.ends_with("ß`, expected `name`"), "{detail}");
    for bytes in [0, 1, limits::PROBLEM_DETAIL_BYTES_MAX] {
        assert_eq!(Problem::new(Code::Internal, "x".repeat(bytes)).to_json()["detail"], "x".repeat(bytes));
    }
}

#[test]
fn nothing_that_a_store_says_of_its_inside_reaches_a_client() {
    let cause = || "PostgreSQL says: relation \"g7.projects\" does not exist, user annals (SQLSTATE 42P01)".to_owned();
    for error in [
        QueryError::Unavailable { read_model: "portfolio", cause: cause() },
        QueryError::Damaged { read_model: "portfolio", cause: cause() },
    ] {
        let problem = Problem::from(error);
        assert_eq!(problem.code(), Code::ReadModelUnavailable);
        let told = serde_json::Value::Object(problem.to_json()).to_string();
        assert!(told.contains("portfolio") && !told.contains("g7") && !told.contains("SQL"), "{told}");
    }
}
