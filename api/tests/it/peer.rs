//! Another node, which answers when and what a test wants.

use std::sync::Arc;
use std::time::Duration;

use annals_engine::log::EventLog;
use annals_engine::log::memory::MemoryLog;
use annals_engine::owners::{PartitionOwner, PartitionState};
use annals_model::position::ContextPartition;
use annals_schemas::contexts::{ACCESS, PORTFOLIO};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::server::contexts;

/// The owner of one partition of a cluster whose only node owns the access context.
pub(crate) struct Peer {
    pub(crate) cluster: Cluster,
    /// Its partition is that of this workspace's things.
    pub(crate) workspace: Uuid,
    listener: TcpListener,
}

/// A request that it was sent, and has not answered.
pub(crate) struct Asked {
    stream: TcpStream,
    pub(crate) body: String,
}

impl Peer {
    pub(crate) async fn start() -> Self {
        let log = MemoryLog::new(&contexts());
        let cluster = Cluster::on(log.clone(), 1).await;
        let node = &cluster.nodes[0];
        let workspace = node.workspace().await;
        // Known there as one to work in.
        node.project(workspace, "p").await;
        cluster.assigned[0].send_replace(Arc::new(cluster.partitions_of(ACCESS)));
        node.engine().released(&Vec::from_iter(cluster.partitions_of(PORTFOLIO))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = node.partition_of(workspace);
        let address = listener.local_addr().unwrap().to_string();
        let owner = PartitionOwner { owner: "peer".to_owned(), address, claim_epoch: log.claim_by_rival(at) };
        let value = serde_json::to_vec(&owner).unwrap();
        log.meta_put(&format!("owner/{}/{}", at.context.name, at.partition.0), &value).await.unwrap();
        while node.engine().owner(at).as_ref() != Some(&owner) {
            node.engine().owners_heard().await;
        }
        assert_eq!(node.engine().state(at), Some(PartitionState::NotOwner));
        Self { cluster, workspace, listener }
    }

    pub(crate) fn at(&self) -> ContextPartition {
        self.cluster.nodes[0].partition_of(self.workspace)
    }

    /// The next request, once it is there.
    pub(crate) async fn asked(&self) -> Asked {
        let comes = tokio::time::timeout(Duration::from_secs(30), self.listener.accept()).await;
        let (mut stream, _) = comes.expect("a request").unwrap();
        let mut request = String::new();
        loop {
            let mut piece = [0; 4_096];
            let read = stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "a request that ends in its middle: {request}");
            request.push_str(std::str::from_utf8(&piece[..read]).unwrap());
            let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
            let length = head
                .to_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse::<usize>().unwrap());
            if body.len() >= length {
                let body = body.to_owned();
                return Asked { stream, body };
            }
        }
    }
}

impl Asked {
    /// Answers to a batch, line by line.
    pub(crate) async fn answer_lines(self, lines: &[Value]) {
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.answer("200 OK", &body).await;
    }

    /// Says that it is no owner.
    pub(crate) async fn refuse(self) {
        self.answer("503 Service Unavailable", &problem("not-owner").to_string()).await;
    }

    async fn answer(mut self, status: &str, body: &str) {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Begins to answer, and goes on only when it is dropped.
    pub(crate) async fn begin_to_answer(&mut self) {
        let text = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"contract";
        self.stream.write_all(text).await.unwrap();
    }
}

/// What it refuses a request or a line with for the time being.
pub(crate) fn problem(code: &str) -> Value {
    json!({ "type": format!("urn:annals:problem:{code}"), "status": 503, "title": code })
}
