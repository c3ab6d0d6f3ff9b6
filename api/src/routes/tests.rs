use axum::body::Body;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;

async fn with_text() -> Problem {
    panic!("secret cause")
}

async fn with_anything() -> Problem {
    std::panic::panic_any(7)
}

#[tokio::test]
async fn a_panic_is_a_problem_document_and_not_the_end() {
    let router = Router::new()
        .route("/text", get(with_text))
        .route("/other", get(with_anything))
        .layer(middleware::from_fn(around));
    for path in ["/text", "/other"] {
        let request = Request::builder().uri(path).header("host", "x").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), Code::Internal.status());
        assert_eq!(response.headers()["contract-version"], crate::CONTRACT_VERSION);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["type"], Code::Internal.urn());
        assert!(!problem["detail"].as_str().unwrap().contains("secret cause"), "the cause is for the log alone");
    }
}
