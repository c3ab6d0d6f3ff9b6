//! `/metrics`: what the process counts, on a listener of its own, in the text that Prometheus reads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use annals_engine::telemetry;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::limits;

/// The text format of Prometheus, in the version that the exporter writes.
const TEXT: &str = "text/plain; version=0.0.4";

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address is in use, or not this machine's: choose another one.
    #[error("metrics cannot be served on {address}: {cause}")]
    Listen {
        /// As it was given.
        address: SocketAddr,
        /// What the system said.
        cause: String,
    },
    /// Another part of the process collects them: a mistake of the caller.
    #[error("the process collects metrics already")]
    CollectedAlready,
}

/// Serves the metrics of this process until its runtime ends; the address that it listens on. Before owners and runners
/// start: what they count before is lost. Needs a Tokio runtime.
pub fn serve(address: SocketAddr) -> Result<SocketAddr, MetricsError> {
    let refused = |cause: String| MetricsError::Listen { address, cause };
    let (listener, bound) = listen(address).map_err(|error| refused(error.to_string()))?;
    let appends = Matcher::Full(telemetry::APPEND_SECONDS.to_owned());
    let built = PrometheusBuilder::new().set_buckets_for_metric(appends, telemetry::APPEND_SECONDS_BUCKETS);
    let recorder = built.map_err(|error| refused(error.to_string()))?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| MetricsError::CollectedAlready)?;
    telemetry::describe();
    tokio::spawn(keep_small(handle.clone()));
    tokio::spawn(async move { axum::serve(listener, router(handle)).await });
    Ok(bound)
}

fn listen(address: SocketAddr) -> io::Result<(tokio::net::TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    Ok((tokio::net::TcpListener::from_std(listener)?, bound))
}

/// Nothing is at any other path: whoever asks there, for `/readyz` say, must not take an answer for a yes.
fn router(handle: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(async move || ([(CONTENT_TYPE, TEXT)], handle.render())))
}

/// Samples of histograms pile up until somebody counts them, and nobody may ask for a long time.
async fn keep_small(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_millis(limits::METRICS_UPKEEP_MS)).await;
        handle.run_upkeep();
    }
}
