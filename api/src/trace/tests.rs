use super::*;

fn headers(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
}

#[test]
fn a_deadline_is_read_in_seconds_or_milliseconds_and_cut_to_the_longest() {
    let cases = [
        ("2", 2_000),
        ("2.5", 2_500),
        ("2s", 2_000),
        ("1500ms", 1_500),
        ("30", 30_000),
        ("99999999999999999999", 30_000),
    ];
    for (value, ms) in cases {
        assert_eq!(timeout(&headers(REQUEST_TIMEOUT, value)), Ok(Some(Duration::from_millis(ms))), "{value}");
    }
}

#[test]
fn a_deadline_that_is_none_is_refused() {
    for value in ["", "0", "0ms", "-1", "1e9", "inf", "NaN", "1.2.3", "5m", "ms", "s", "."] {
        assert!(timeout(&headers(REQUEST_TIMEOUT, value)).is_err(), "{value:?}");
    }
}

#[test]
fn a_malformed_traceparent_is_no_trace() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let good = format!("00-{trace}-00f067aa0ba902b7-01");
    assert_eq!(traceparent_trace_id(&headers(TRACEPARENT, &good)), Some(trace));
    let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
    for bad in ["", "00", "00-xyz-00f067aa0ba902b7-01", &good.to_uppercase(), &format!("ff{}", &good[2..]), &zero] {
        assert_eq!(traceparent_trace_id(&headers(TRACEPARENT, bad)), None, "{bad:?}");
    }
}
