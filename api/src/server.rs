//! Connections: how many, for how long, and how they end.

mod connections;
mod stall;
mod unasked;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::connections::{Answer, Busy, Connection, Connections};
use self::stall::StallLimit;
use self::unasked::Unasked;
use crate::problem::{Code, Problem, ToldOff};
use crate::routes::{is_health, router};
use crate::shared::Api;
use crate::{limits, trace};

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
    let Api { trusted_network, connections: connections_max, shared } = api;
    if !address.ip().is_loopback() && !trusted_network {
        return Err(ServeError::NotLoopback(address));
    }
    prepare(&listener);
    let router = router(Arc::clone(&shared));
    let graceful = GracefulShutdown::new();
    let known = Connections::new();
    let mut accepting = Accepting::default();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    let all = connections_max + limits::CONNECTIONS_RESERVED;
    loop {
        let is_room = connections.len() < all;
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            stream = accepting.next(&listener), if is_room => {
                let entered = known.enter(connections_max);
                connections.spawn(connection(stream, router.clone(), &graceful, entered));
                // Before the next one comes: however many come, and do nothing, it is accepted at once.
                if connections.len() >= all {
                    known.make_any_room();
                }
            }
            () = tokio::time::sleep(Duration::from_millis(limits::ROOM_LOOK_MS)), if !is_room => {
                known.make_any_room();
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
    Ok(())
}

/// Bounds what the system keeps for clients that do not read, and lets more of them wait to be accepted than it does by
/// itself. Connections inherit the buffer from their listener.
fn prepare(listener: &TcpListener) {
    let buffer = setsockopt(listener, sockopt::SndBuf, &limits::SEND_BUFFER_BYTES);
    let backlog = Backlog::new(limits::BACKLOG_CONNECTIONS).and_then(|backlog| listen(listener, backlog));
    if let Err(error) = buffer.and(backlog) {
        tracing::warn!(%error, "the listener keeps the system's bounds");
    }
}

/// Takes connections, and says once when that begins to fail and once when it works again.
#[derive(Debug, Default)]
struct Accepting {
    is_failing: bool,
}

impl Accepting {
    /// The next connection. May be dropped and called again.
    async fn next(&mut self, listener: &TcpListener) -> TcpStream {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("connections are accepted again");
                    }
                    return stream;
                }
                // It was reset before it was taken.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.is_failing, true) {
                        let remedy = "raise LimitNOFILE of its unit, or `ulimit -n`, if it is out of open files";
                        tracing::warn!(%error, remedy, "connections cannot be accepted");
                    }
                    tokio::time::sleep(Duration::from_millis(limits::ACCEPT_RETRY_MS)).await;
                }
            }
        }
    }
}

/// Serves one connection to its end.
fn connection(
    stream: TcpStream,
    router: Router,
    graceful: &GracefulShutdown,
    connection: Arc<Connection>,
) -> impl Future<Output = ()> + Send + 'static {
    // Answers are small and awaited: they do not wait for more to be sent with.
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::HEAD_READ_MS))
        .max_buf_size(limits::HEAD_BUFFER_BYTES_MAX)
        .half_close(true);
    let stream = StallLimit::new(stream, Duration::from_millis(limits::WRITE_STALL_MS), Arc::clone(&connection));
    let stream = Unasked::new(stream, Arc::clone(&connection));
    let ends = Arc::clone(&connection);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = connection.begin();
        let refused = connection.is_reserved() && !is_health(request.uri().path());
        let answer = (busy.is_some() && !refused).then(|| router.call(request));
        async move {
            let busy = busy.ok_or(MadeRoom)?;
            let answer = match answer {
                Some(answer) => {
                    let answer = answer.await.unwrap_or_else(|never| match never {});
                    if answer.extensions().get::<ToldOff>().is_some() {
                        tell_off_late(&busy).await?;
                    }
                    answer
                }
                None => no_room(),
            };
            Ok::<_, MadeRoom>(answer.map(|body| Answer { body, _busy: busy }))
        }
    });
    let served = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
    async move {
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            },
            () = ends.ends() => tracing::debug!("a connection made room for another"),
        }
    }
}

/// Whoever is told off at once comes back at once, and telling it off again takes work from those who could be answered.
/// Meanwhile its connection is the first to make room for others.
async fn tell_off_late(busy: &Busy) -> Result<(), MadeRoom> {
    busy.rest();
    tokio::time::sleep(Duration::from_millis(limits::TOLD_OFF_PAUSE_MS)).await;
    if busy.go_on() { Ok(()) } else { Err(MadeRoom) }
}

/// The connection is about to end, and its request was not begun or is not answered.
#[derive(Debug, thiserror::Error)]
#[error("the connection makes room for another")]
struct MadeRoom;

/// Told to whoever comes when all connections are busy.
fn no_room() -> Response<Body> {
    let detail = "too many connections have requests under way; nothing was done, connect again";
    let mut refusal = trace::marked(Problem::new(Code::Overloaded, detail).into_response());
    refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    refusal
}
