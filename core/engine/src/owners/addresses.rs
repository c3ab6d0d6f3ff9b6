//! Who owns which partition, for those who forward to them: in the log's `meta`, written by the owners themselves.
//!
//! An entry is an address to try. Whoever is asked there and is no owner (any more) says so, and nothing is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use annals_model::ids::Partition;
use annals_model::position::{ClaimEpoch, ContextPartition};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::{EngineHandle, PartitionState};
use crate::limits;
use crate::log::{Owner, ReadError};

const PREFIX: &str = "owner/";

/// The owner of a partition, as it made itself known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOwner {
    /// One process's life.
    pub owner: String,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
    /// Its claim: of two entries the one with the larger claim is the newer.
    pub claim_epoch: ClaimEpoch,
}

type Known = BTreeMap<ContextPartition, PartitionOwner>;

/// What this process has heard of owners.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: RwLock<Arc<Known>>,
    /// Somebody wants to hear more.
    asked: Notify,
    /// Counts what was heard.
    heard: watch::Sender<u64>,
    /// Why nothing was heard the last time.
    trouble: RwLock<Option<String>>,
}

impl Addresses {
    pub(super) fn of(&self, at: ContextPartition) -> Option<PartitionOwner> {
        self.all().get(&at).cloned()
    }

    /// Returns when `meta` was read once more, from now on; at the latest after two polls.
    pub(super) async fn heard(&self) {
        let mut heard = self.heard.subscribe();
        self.asked.notify_one();
        drop(timeout(Duration::from_millis(2 * limits::OWNERS_POLL_MS), heard.changed()).await);
    }

    /// Why the log could not be asked the last time; nothing if it could.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn all(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, known: Known) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        self.heard.send_modify(|heard| *heard += 1);
    }
}

/// Makes this process known for what it owns, and hears of the others, until the process shuts down.
pub(super) async fn publish(engine: EngineHandle, owner: Owner, mut stopping: watch::Receiver<bool>) {
    let addresses = &engine.shared.addresses;
    loop {
        let trouble = exchange(&engine, &owner).await.err();
        // A node that hears nothing serves what it owns all the same.
        match (&trouble, addresses.trouble()) {
            (Some(cause), None) => tracing::warn!(%cause, "owners of partitions cannot be exchanged, trying again"),
            (None, Some(_)) => tracing::info!("owners of partitions can be exchanged again"),
            _ => {}
        }
        addresses.set_trouble(trouble);
        let poll = Duration::from_millis(limits::OWNERS_POLL_MS);
        // However many ask.
        tokio::time::sleep(Duration::from_millis(limits::OWNERS_POLL_MS_MIN)).await;
        tokio::select! {
            () = addresses.asked.notified() => {}
            () = served(&engine) => {}
            () = tokio::time::sleep(poll) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Returns when this process serves a partition for which another is known, so that it is made known at once.
async fn served(engine: &EngineHandle) {
    let waits = engine.shared.mailboxes.iter().map(|(at, mailbox)| {
        let mut state = mailbox.state.clone();
        let known = engine.shared.addresses.of(*at).map(|known| known.claim_epoch);
        Box::pin(async move {
            let news =
                |state: &PartitionState| serves(state).is_some_and(|epoch| known.is_none_or(|known| known < epoch));
            if state.wait_for(news).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    futures_util::future::select_all(waits).await;
}

fn serves(state: &PartitionState) -> Option<ClaimEpoch> {
    match state {
        PartitionState::Serving { claim_epoch } => Some(*claim_epoch),
        PartitionState::Claiming | PartitionState::NotOwner | PartitionState::Stopped { .. } => None,
    }
}

/// Writes what is owned here where `meta` says otherwise (an older owner's late entry may lie on top), and reads the rest.
async fn exchange(engine: &EngineHandle, owner: &Owner) -> Result<(), String> {
    let log = &engine.shared.log;
    let found = read(engine).await.map_err(|error| error.to_string())?;
    // What was heard once is not forgotten for an older entry.
    let mut known = (*engine.shared.addresses.all()).clone();
    for (at, entry) in &found {
        if known.get(at).is_none_or(|known| known.claim_epoch <= entry.claim_epoch) {
            known.insert(*at, entry.clone());
        }
    }
    // Before anything is written: whoever cannot make itself known now still has to know the others.
    engine.shared.addresses.set(known.clone());
    for (at, mailbox) in &engine.shared.mailboxes {
        let Some(claim_epoch) = serves(&mailbox.state()) else { continue };
        let own = PartitionOwner { owner: owner.id.clone(), address: owner.address.clone(), claim_epoch };
        if found.get(at) != Some(&own) && known.get(at).is_none_or(|known| known.claim_epoch <= claim_epoch) {
            let value = serde_json::to_vec(&own).map_err(|error| error.to_string())?;
            log.meta_put(&key(*at), &value).await.map_err(|error| error.to_string())?;
            known.insert(*at, own);
            engine.shared.addresses.set(known.clone());
        }
    }
    Ok(())
}

async fn read(engine: &EngineHandle) -> Result<Known, ReadError> {
    let entries = engine.shared.log.meta_list(PREFIX).await?;
    let parse = |(key, value): (String, Vec<u8>)| {
        let (context, partition) = key.strip_prefix(PREFIX)?.split_once('/')?;
        let context = engine.context(context)?.id();
        let at = ContextPartition { context, partition: Partition(partition.parse().ok()?) };
        let entry: PartitionOwner = serde_json::from_slice(&value).ok()?;
        (entry.address.len() <= limits::OWNER_ADDRESS_BYTES_MAX).then_some((at, entry))
    };
    // What a newer build writes otherwise is nobody to forward to.
    Ok(entries.into_iter().filter_map(parse).collect())
}

fn key(at: ContextPartition) -> String {
    format!("{PREFIX}{}/{}", at.context.name, at.partition.0)
}
