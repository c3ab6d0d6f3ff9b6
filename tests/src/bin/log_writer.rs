//! A process that owns one partition of a log (`log_writer PATH` on SQLite, `log_writer kafka ADDRESSES PREFIX`) and does
//! what its standard input says, one line at a time, so that tests can stop it, limit it and see what it is told.
//!
//! `claim` → `claimed <epoch> <ordinal>`; `append <events>` → `durable <ordinal>`, `aborted`, `fenced` or `unknown`;
//! `prove` → `owner`, `fenced` or `unknown`; `spent` → `spent` or `fresh`; `pretend <ordinal>`
//! → `pretended`: that this was the last one; `file-limit <bytes>` (0 for none) → `limited`. On Kafka: `join` → `joined`,
//! `assigned` → `assigned <partitions>`, `changes` → `changes <partitions> <partitions> …`, `leave` → `left`.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "stdout is how tests speak to it")]

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use annals_engine::log::checked::CheckedReader;
use annals_engine::log::contract::records::TestRecords;
use annals_engine::log::kafka::membership::Membership;
use annals_engine::log::kafka::{KafkaLog, KafkaOptions};
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::{AppendOutcome, EventLog, LogWriter, Owner, ProofOutcome};
use annals_model::position::Checkpoint;
use annals_tests::{LOG_CONTEXT, LOG_PARTITION};
use anyhow::{Context, bail};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Otherwise a write beyond the file limit ends the process; so it fails, as on a broken disk.
    let _handler = signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32))?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut node = None;
    let log: Arc<dyn EventLog> = match words[..] {
        ["kafka", addresses, prefix] => {
            let options = KafkaOptions { prefix: prefix.into(), ..KafkaOptions::new(addresses) };
            let log = KafkaLog::connect(options, &[LOG_CONTEXT]).await?;
            node = Some(Node { log: Arc::clone(&log), member: None, changes: Arc::default() });
            log
        }
        [path] => SqliteLog::open(Path::new(path), &[LOG_CONTEXT], SqliteOptions::default()).await?,
        _ => bail!("usage: log_writer PATH, or log_writer kafka ADDRESSES PREFIX"),
    };
    let mut owner = PartitionOwner { log, held: None };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let as_node = match &mut node {
            Some(node) => node.answer(&line).await?,
            None => None,
        };
        let answer = match as_node {
            Some(answer) => answer,
            None => owner.answer(&line).await?,
        };
        println!("{answer}");
    }
    Ok(())
}

/// A member of the group of nodes.
struct Node {
    log: Arc<KafkaLog>,
    member: Option<Membership>,
    /// How many partitions it had, each time that changed.
    changes: Arc<Mutex<Vec<usize>>>,
}

impl Node {
    async fn answer(&mut self, line: &str) -> anyhow::Result<Option<String>> {
        let joined = || self.member.as_ref().context("join first");
        Ok(Some(match line {
            "join" => {
                let member = Membership::join(&self.log, |_| Box::pin(async {}))?;
                let (mut assigned, changes) = (member.assigned(), Arc::clone(&self.changes));
                tokio::spawn(async move {
                    while assigned.changed().await.is_ok() {
                        let count = assigned.borrow_and_update().len();
                        changes.lock().unwrap_or_else(PoisonError::into_inner).push(count);
                    }
                });
                self.member = Some(member);
                "joined".into()
            }
            "assigned" => format!("assigned {}", joined()?.assigned().borrow().len()),
            "changes" => {
                let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
                changes.iter().fold("changes".to_owned(), |line, count| format!("{line} {count}"))
            }
            "leave" => {
                self.member.take().context("join first")?.leave().await;
                "left".into()
            }
            _ => return Ok(None),
        }))
    }
}

struct PartitionOwner {
    log: Arc<dyn EventLog>,
    held: Option<(Box<dyn LogWriter>, TestRecords)>,
}

impl PartitionOwner {
    async fn answer(&mut self, line: &str) -> anyhow::Result<String> {
        let mut words = line.split(' ');
        let command = words.next().unwrap_or_default();
        let number = words.next().map(str::parse::<u64>).transpose()?.unwrap_or_default();
        match command {
            "claim" => self.claim().await,
            "append" => self.append(u16::try_from(number)?).await,
            "prove" => self.prove().await,
            "spent" => {
                let (writer, _) = self.held.as_ref().context("claim first")?;
                Ok(if writer.is_spent() { "spent" } else { "fresh" }.into())
            }
            "pretend" => {
                let (_, records) = self.held.as_mut().context("claim first")?;
                records.ordinal.0 = number;
                Ok("pretended".into())
            }
            "file-limit" => {
                let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE)?;
                let soft = if number == 0 { RLIM_INFINITY } else { number };
                setrlimit(Resource::RLIMIT_FSIZE, soft.min(hard), hard)?;
                Ok("limited".into())
            }
            _ => bail!("unknown command {line}"),
        }
    }

    async fn claim(&mut self) -> anyhow::Result<String> {
        let owner = Owner { id: std::process::id().to_string(), address: String::new() };
        let claimed = self.log.claim(LOG_PARTITION, owner).await?;
        let mut reader = CheckedReader::open(&*self.log, LOG_PARTITION, Checkpoint::default()).await?;
        while reader.checkpoint().offset < claimed.barrier {
            reader.next().await?;
        }
        let epoch = claimed.writer.claim_epoch();
        let mut records = TestRecords::new(LOG_PARTITION, self.log.partitions(LOG_CONTEXT)).claimed(epoch);
        let Checkpoint { ordinal, emitted_at, .. } = reader.checkpoint();
        records.resume(ordinal, emitted_at);
        self.held = Some((claimed.writer, records));
        Ok(format!("claimed {epoch} {ordinal}"))
    }

    async fn append(&mut self, events: u16) -> anyhow::Result<String> {
        let (writer, records) = self.held.take().context("claim first")?;
        let mut ahead = records.clone();
        Ok(match writer.append(ahead.batch(&[events])).await {
            AppendOutcome::Durable { writer, .. } => {
                let answer = format!("durable {}", ahead.ordinal);
                self.held = Some((writer, ahead));
                answer
            }
            AppendOutcome::Aborted { writer, cause } => {
                tell(&format!("aborted: {cause}"));
                self.held = Some((writer, records));
                "aborted".into()
            }
            AppendOutcome::Fenced => "fenced".into(),
            AppendOutcome::Unknown { cause } => {
                tell(&format!("unknown: {cause}"));
                "unknown".into()
            }
        })
    }

    async fn prove(&mut self) -> anyhow::Result<String> {
        let (writer, records) = self.held.take().context("claim first")?;
        Ok(match writer.prove().await {
            ProofOutcome::Owner { writer } => {
                self.held = Some((writer, records));
                "owner".into()
            }
            ProofOutcome::Fenced => "fenced".into(),
            ProofOutcome::Unknown { .. } => "unknown".into(),
        })
    }
}

/// For whoever looks: the file that stderr may be has the same limit as all others, and nothing hangs on it.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
