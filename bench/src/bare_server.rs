//! The floor of commands over HTTP: axum, serde_json, and one thread that appends lines of JSON to a file and syncs it.
//! Whatever has queued meanwhile shares the next sync. No domain, no idempotency, no order of anybody's, no tokens.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use axum::Json;
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::limits;

/// A server at work, ended when dropped.
#[derive(Debug)]
pub(crate) struct BareServer {
    pub(crate) address: SocketAddr,
    // The runtime goes first: with it goes the last sender, which ends the thread.
    runtime: Option<Runtime>,
    writer: Option<JoinHandle<std::io::Result<()>>>,
}

#[derive(Debug, Deserialize)]
struct Command {
    client_request_id: String,
    workspace_id: Uuid,
    aggregate_id: Uuid,
    payload: Value,
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    event_type: &'a str,
    client_request_id: &'a str,
    workspace_id: Uuid,
    aggregate_id: Uuid,
    data: &'a Value,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    operation_id: &'a str,
    aggregate_id: Uuid,
    line: u64,
    data: Value,
}

/// A line, and who waits for it to be durable.
struct Line {
    bytes: Vec<u8>,
    written: oneshot::Sender<u64>,
}

impl BareServer {
    pub(crate) fn start(file: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(file)?;
        let (lines, queue) = mpsc::sync_channel(limits::BARE_QUEUE_LINES_MAX);
        let writer = std::thread::Builder::new().name("bare writer".into()).spawn(move || write(file, &queue))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("bare server").enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let router = axum::Router::new().route("/v1/commands/{type}", post(command)).with_state(lines);
        let listener = listener.tap_io(|stream| {
            // Answers are small and awaited, as the engine's.
            let _ = stream.set_nodelay(true);
        });
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, runtime: Some(runtime), writer: Some(writer) })
    }

    /// Ends it, and says whether everything was written.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.runtime.take());
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(written)) => Ok(written?),
            Some(Err(_)) => anyhow::bail!("the writer panicked"),
            None => Ok(()),
        }
    }
}

async fn command(
    State(lines): State<mpsc::SyncSender<Line>>,
    extract::Path(event_type): extract::Path<String>,
    Json(command): Json<Command>,
) -> Result<Json<Value>, StatusCode> {
    let event = Event {
        event_type: &event_type,
        client_request_id: &command.client_request_id,
        workspace_id: command.workspace_id,
        aggregate_id: command.aggregate_id,
        data: &command.payload,
    };
    let mut bytes = serde_json::to_vec(&event).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    bytes.push(b'\n');
    let (written, durable) = oneshot::channel();
    lines.try_send(Line { bytes, written }).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let line = durable.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let answer = Answer {
        operation_id: &command.client_request_id,
        aggregate_id: command.aggregate_id,
        line,
        data: command.payload,
    };
    serde_json::to_value(answer).map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

fn write(mut file: File, queue: &mpsc::Receiver<Line>) -> std::io::Result<()> {
    let (mut bytes, mut waiting, mut count) = (Vec::new(), Vec::new(), 0);
    while let Ok(first) = queue.recv() {
        for line in std::iter::once(first).chain(queue.try_iter().take(limits::BARE_QUEUE_LINES_MAX)) {
            bytes.extend_from_slice(&line.bytes);
            waiting.push(line.written);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        bytes.clear();
        for written in waiting.drain(..) {
            count += 1;
            // Who has gone does not want to know.
            let _ = written.send(count);
        }
    }
    Ok(())
}
