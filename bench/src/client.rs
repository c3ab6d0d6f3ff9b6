//! Clients that cost next to nothing: HTTP/1.1 on kept connections, requests made by hand, answers looked at no further
//! than their length and status.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::limits;
use crate::machine::{own_cpu, thread_cpu};
use crate::rounds::{Latencies, Turn};

/// What a server answers that has too much to do.
const OVERLOADED: u16 = 503;

/// Makes requests, one after the other.
pub(crate) trait Requests {
    /// Puts the next one into `out`, which is empty: head and body.
    fn next(&mut self, out: &mut Vec<u8>);
}

/// What clients do who are told that the server has too much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// They end the measurement: it is no longer of what was meant.
    Ends,
    /// They send the same again at once. Nothing but success is counted.
    Again,
}

/// What a turn of many clients came to.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) turn: Turn,
    /// All that were answered, also while nothing was counted yet.
    pub(crate) answered: u64,
}

/// Each client has one request in flight, on a connection of its own, and sends the next one when it is answered. All of
/// them run on the calling thread. Anything but success ends it.
pub(crate) fn drive<R: Requests + 'static>(to: SocketAddr, clients: Vec<R>, turn: Duration) -> anyhow::Result<Driven> {
    drive_with(to, clients, turn, Refused::Ends)
}

/// The same, with clients that may be refused.
pub(crate) fn drive_with<R: Requests + 'static>(
    to: SocketAddr,
    clients: Vec<R>,
    turn: Duration,
    refused: Refused,
) -> anyhow::Result<Driven> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let counted = Rc::new(RefCell::new(Counted { latencies: Latencies::new(), measured: 0, answered: 0 }));
    let (client_before, own_before) = (thread_cpu(), own_cpu()?);
    let began = Instant::now();
    let from = began + turn.mul_f64(limits::WARM_UP_SHARE);
    let until = from + turn;
    local.block_on(&runtime, async {
        let clients: Vec<_> = clients
            .into_iter()
            .map(|requests| tokio::task::spawn_local(client(to, requests, from..until, refused, Rc::clone(&counted))))
            .collect();
        for client in clients {
            client.await??;
        }
        anyhow::Ok(())
    })?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    let spent = thread_cpu() - client_before;
    let (client, own) = (spent.as_secs_f64(), (own_cpu()? - own_before).as_secs_f64());
    let client_share = client / began.elapsed().as_secs_f64() / processors;
    let Counted { latencies, measured, answered } = counted.take();
    let processor_us = (answered > 0).then(|| (own - client).max(0.0) * 1e6 / answered as f64);
    let turn = Turn { latencies: Some(latencies), client_share, processor_us, ..Turn::of(measured, until - from) };
    Ok(Driven { turn, answered })
}

#[derive(Debug)]
struct Counted {
    latencies: Latencies,
    measured: u64,
    answered: u64,
}

impl Default for Counted {
    fn default() -> Self {
        Self { latencies: Latencies::new(), measured: 0, answered: 0 }
    }
}

async fn client(
    to: SocketAddr,
    mut requests: impl Requests,
    counting: Range<Instant>,
    refused: Refused,
    counted: Rc<RefCell<Counted>>,
) -> anyhow::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (mut request, mut answer) = (Vec::new(), vec![0; limits::ANSWER_BYTES_MAX]);
    let (mut sent, mut is_again) = (Instant::now(), false);
    loop {
        if Instant::now() >= counting.end {
            return Ok(());
        }
        if !is_again {
            sent = Instant::now();
            request.clear();
            requests.next(&mut request);
        }
        stream.write_all(&request).await?;
        let mut length = 0;
        let head = loop {
            let read = stream.read(&mut answer[length..]).await?;
            ensure!(read > 0, "the server closed a connection");
            length += read;
            match head(&answer[..length])? {
                Some(head) if head.bytes + head.body_bytes <= length => break head,
                Some(_) | None => ensure!(length < answer.len(), "an answer is too long"),
            }
        };
        is_again = head.status == OVERLOADED && refused == Refused::Again;
        if is_again {
            continue;
        }
        if !(200..300).contains(&head.status) {
            bail!("{} was answered {}", first_line(&request), String::from_utf8_lossy(&answer[..length]));
        }
        let answered = Instant::now();
        let mut counted = counted.borrow_mut();
        counted.answered += 1;
        if sent >= counting.start && answered < counting.end {
            counted.latencies.record(answered - sent);
        }
        if counting.contains(&answered) {
            counted.measured += 1;
        }
    }
}

/// One connection that blocks.
#[derive(Debug)]
pub(crate) struct Connection(TcpStream);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: serde_json::Value,
}

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(limits::ANSWER_S_MAX)))?;
        Ok(Self(stream))
    }

    pub(crate) fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.0.write_all(request)?;
        let (mut answer, mut length) = (vec![0; limits::ANSWER_BYTES_MAX], 0);
        loop {
            let read = self.0.read(&mut answer[length..]).context("no answer")?;
            ensure!(read > 0, "the server closed the connection");
            length += read;
            if let Some(head) = head(&answer[..length])?
                && head.bytes + head.body_bytes <= length
            {
                let body = &answer[head.bytes..head.bytes + head.body_bytes];
                return Ok(Answer { status: head.status, body: serde_json::from_slice(body)? });
            }
        }
    }
}

/// Where an answer's body begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
}

/// Nothing while it is not all there.
fn head(answer: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..end])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Ok(Some(Head {
        status: status.context("an answer without status")?,
        bytes: end + 4,
        body_bytes: length.with_context(|| format!("an answer without length: {text}"))?,
    }))
}

fn first_line(request: &[u8]) -> String {
    String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_it_says() {
        let answer = b"HTTP/1.1 201 Created\r\netag: \"1\"\r\nContent-Length: 2\r\n\r\n{}";
        let found = head(answer).unwrap();
        assert_eq!(found, Some(Head { status: 201, bytes: answer.len() - 2, body_bytes: 2 }));
        assert_eq!(head(&answer[..40]).unwrap(), None);
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
