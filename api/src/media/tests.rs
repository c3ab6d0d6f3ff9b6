use axum::http::HeaderValue;

use super::*;

const OFFERS: [&str; 2] = ["application/json", "application/cloudevents-batch+json"];

fn chosen(accept: &[&'static str]) -> Option<&'static str> {
    let mut headers = HeaderMap::new();
    for value in accept {
        headers.append(ACCEPT, HeaderValue::from_static(value));
    }
    negotiate(&headers, &OFFERS).ok()
}

#[test]
fn the_form_that_the_client_likes_best_is_chosen() {
    let (json, batch) = (Some(OFFERS[0]), Some(OFFERS[1]));
    for (accept, expected) in [
        (&[][..], json),
        (&[""], json),
        (&["*/*"], json),
        (&["application/*"], json),
        (&["application/cloudevents-batch+json"], batch),
        (&["Application/CloudEvents-Batch+JSON"], batch),
        (&["application/cloudevents-batch+json; charset=utf-8"], batch),
        (&["application/json;q=0.5, application/cloudevents-batch+json;q=0.9"], batch),
        (&["application/json;q=0.5", "application/cloudevents-batch+json;q=0.501"], batch),
        (&["application/cloudevents-batch+json, application/json"], json),
        (&["*/*;q=0.1, application/cloudevents-batch+json"], batch),
        (&["application/json;q=0, */*"], batch),
        (&["application/json; q=0, application/*; q=0.2"], batch),
        (&["text/html, application/xhtml+xml, */*;q=0.8"], json),
        (&["text/plain;note=\"a, application/json\", application/cloudevents-batch+json"], batch),
    ] {
        assert_eq!(chosen(accept), expected, "{accept:?}");
    }
}

#[test]
fn nothing_is_chosen_where_nothing_fits() {
    for accept in [
        "text/html",
        "application/cloudevents+json",
        "*/*;q=0",
        "application/json;q=0",
        "application/json;q=1.1",
        "application/json;q=0.0001",
        "application/json;q=nonsense",
        "*/json",
        "application",
        "/",
        ",",
    ] {
        assert_eq!(chosen(&[accept]), None, "{accept:?}");
    }
}
