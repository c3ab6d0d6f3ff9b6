//! Many commands on one connection, as an import sends them: lines go out while answers come in.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::commands::Commands;
use crate::limits;

/// What a server made of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Accepted now.
    pub(crate) fresh: u64,
    /// Accepted before, and answered as then.
    pub(crate) replayed: u64,
}

/// Sends so many lines, and returns when all are answered. Anything but acceptance ends it.
pub(crate) fn send(to: SocketAddr, token: &str, mut commands: Commands, count: u64) -> anyhow::Result<Taken> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(limits::ANSWER_S_MAX)))?;
    let answers = BufReader::with_capacity(limits::ANSWER_BYTES_MAX, stream.try_clone()?);
    std::thread::scope(|scope| {
        let written = scope.spawn(|| write_lines(stream, token, &mut commands, count));
        let taken = read_answers(answers, count);
        // Whoever could not read says why; a writer then fails as well, for that reason.
        let written = written.join().unwrap_or_else(|_| bail!("the thread that writes lines panicked"));
        let taken = taken?;
        written?;
        Ok(taken)
    })
}

fn write_lines(mut to: TcpStream, token: &str, commands: &mut Commands, count: u64) -> anyhow::Result<()> {
    write!(
        to,
        "POST /v1/commands HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )?;
    let (mut left, mut lines, mut chunk) = (count, Vec::new(), Vec::new());
    while left > 0 {
        lines.clear();
        for _ in 0..left.min(limits::LINES_PER_CHUNK) {
            commands.next_line(&mut lines);
            left -= 1;
        }
        chunk.clear();
        write!(chunk, "{:x}\r\n", lines.len())?;
        chunk.extend_from_slice(&lines);
        chunk.extend_from_slice(b"\r\n");
        to.write_all(&chunk)?;
    }
    Ok(to.write_all(b"0\r\n\r\n")?)
}

fn read_answers(mut from: BufReader<TcpStream>, count: u64) -> anyhow::Result<Taken> {
    let mut line = String::new();
    from.read_line(&mut line).context("no answer")?;
    ensure!(line.starts_with("HTTP/1.1 200"), "the lines were answered {line}");
    // The head ends with an empty line.
    while line != "\r\n" {
        line.clear();
        ensure!(from.read_line(&mut line)? > 0, "the server closed the connection");
    }
    let (mut taken, mut answers) = (Taken::default(), Vec::new());
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).with_context(|| format!("a chunk begins with {line:?}"))?;
        if length == 0 {
            break;
        }
        let before = answers.len();
        answers.resize(before + length, 0);
        from.read_exact(&mut answers[before..])?;
        from.read_exact(&mut [0; 2])?;
        let whole = answers.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for answer in std::str::from_utf8(&answers[..whole])?.lines() {
            taken.add(answer)?;
        }
        answers.drain(..whole);
    }
    ensure!(taken.fresh + taken.replayed == count, "of {count} lines {taken:?} were accepted");
    Ok(taken)
}

impl Taken {
    fn add(&mut self, answer: &str) -> anyhow::Result<()> {
        ensure!(answer.contains("\"operation_id\""), "a line was answered {answer}");
        match answer.contains("\"replayed\":true") {
            true => self.replayed += 1,
            false => self.fresh += 1,
        }
        Ok(())
    }
}
