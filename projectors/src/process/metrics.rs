//! `/metrics`: what the process counts, on a listener of its own, in the text that Prometheus reads.

use std::net::{SocketAddr, TcpListener};

use annals_engine::telemetry;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

use crate::limits;

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
    let mut tried = 1;
    let (address, recorder, exporter) = loop {
        // The exporter does not tell which port it took.
        let wanted = match address.port() {
            0 => TcpListener::bind(address)
                .and_then(|held| held.local_addr())
                .map_err(|error| refused(error.to_string()))?,
            _ => address,
        };
        let appends = Matcher::Full(telemetry::APPEND_SECONDS.to_owned());
        let built = PrometheusBuilder::new()
            .with_http_listener(wanted)
            .set_buckets_for_metric(appends, telemetry::APPEND_SECONDS_BUCKETS)
            .and_then(PrometheusBuilder::build);
        match built {
            Ok((recorder, exporter)) => break (wanted, recorder, exporter),
            // Somebody else took it between the look and the start.
            Err(BuildError::FailedToCreateHTTPListener(_))
                if address.port() == 0 && tried < limits::METRICS_PORTS_TRIED_MAX =>
            {
                tried += 1;
            }
            Err(error) => return Err(refused(error.to_string())),
        }
    };
    metrics::set_global_recorder(recorder).map_err(|_| MetricsError::CollectedAlready)?;
    telemetry::describe();
    tokio::spawn(exporter);
    Ok(address)
}
