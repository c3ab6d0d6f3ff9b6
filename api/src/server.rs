//! Connections: how many, for how long, and how they end.

mod stall;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use self::stall::StallLimit;
use crate::limits;
use crate::routes::router;
use crate::shared::Api;

/// Why the server did not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Development tokens travel in clear text: listen on a loopback address.
    #[error("{0} is no loopback address; this server has no transport security, listen on 127.0.0.1 or ::1")]
    NotLoopback(SocketAddr),
    /// The listener is broken: make a new one.
    #[error("the listener cannot be used: {0}")]
    Listener(#[from] io::Error),
}

/// Serves connections until `shutdown` completes; then takes no more, lets open requests end for at most
/// [`limits::DRAIN_MS`], and returns. The engine is to be shut down behind this, not before.
pub async fn serve(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    let Api { trusted_network, shared, mut followers } = api;
    if !address.ip().is_loopback() && !trusted_network {
        return Err(ServeError::NotLoopback(address));
    }
    let router = router(Arc::clone(&shared));
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (stream, permit) = accept(&listener, &room) => {
                connections.spawn(connection(stream, router.clone(), &graceful, permit));
            }
        }
    }
    drop(listener);
    shared.stopping.cancel();
    let drain = Duration::from_millis(limits::DRAIN_MS);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut: their requests did not end in time");
    }
    connections.shutdown().await;
    while followers.join_next().await.is_some() {}
    Ok(())
}

/// The next connection, once there is room for it. May be dropped and called again.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else {
            // Nobody closes this semaphore; were it closed, nothing would be accepted.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                // A connection that was reset before it was taken, or no file descriptors: both pass.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(limits::ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// Serves one connection to its end.
fn connection(
    stream: TcpStream,
    router: Router,
    graceful: &GracefulShutdown,
    permit: OwnedSemaphorePermit,
) -> impl Future<Output = ()> + Send + 'static {
    // Answers are small and awaited: they do not wait for more to be sent with.
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::HEAD_READ_MS))
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .half_close(true);
    let stream = StallLimit::new(stream, Duration::from_millis(limits::WRITE_STALL_MS));
    let served = graceful.watch(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    async move {
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(permit);
    }
}
