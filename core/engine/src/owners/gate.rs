//! What is remembered of workspaces, and a command that was let through. Whoever asks is in `admission`.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use annals_model::application::{Admission, Standing};
use annals_model::ids::{Actor, AggregateId, ContextId, Partition, TenantId, WorkspaceId};
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;

use super::state::AggregateAddress;
use crate::command::{CommandRequest, NotAdmitted};
use crate::limits;

/// A command whose workspace may be worked in: what an owner is sent.
#[derive(Clone, Debug)]
pub struct Admitted(pub(super) CommandRequest);

/// Asks owners in other processes, too.
pub trait AskOwners: fmt::Debug + Send + Sync {
    /// An aggregate's state as clients see it; nothing if it does not exist.
    fn state<'a>(
        &'a self,
        of: AggregateAddress<'a>,
        actor: &'a Actor,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Value>, NotAdmitted>>;
}

/// Knows the standing of workspaces.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) rule: Admission,
    /// Weak: it holds the engine itself. Without it, this process's own owners are asked.
    pub(super) elsewhere: OnceLock<Weak<dyn AskOwners>>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    workspaces: HashMap<(TenantId, WorkspaceId), (Standing, Instant)>,
    /// Counts what was forgotten: what was read before something was forgotten is not remembered.
    pub(super) forgotten: u64,
    /// Partitions whose events are not seen now. While there is one, nothing is remembered.
    pub(super) unseen: BTreeSet<Partition>,
}

impl Gate {
    /// Remembers nothing until [`super::admission::follow`] sees the events of all these partitions.
    pub(super) fn new(rule: Admission, partitions: u16) -> Self {
        let unseen = (0..partitions).map(Partition).collect();
        Self { rule, elsewhere: OnceLock::new(), known: Mutex::new(Known { unseen, ..Known::default() }) }
    }

    /// The context whose events tell of workspaces.
    pub(super) const fn context(&self) -> ContextId {
        self.rule.context
    }

    /// The workspace that this aggregate stands for, if it stands for one.
    pub(super) fn workspace_of(
        &self,
        context: ContextId,
        aggregate_type: &str,
        id: AggregateId,
    ) -> Option<WorkspaceId> {
        ((context, aggregate_type) == (self.rule.context, self.rule.aggregate_type)).then_some(WorkspaceId(id.0))
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing between lock and unlock leaves the map half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What is remembered of a workspace.
    pub(super) fn standing(&self, workspace: (TenantId, WorkspaceId)) -> Option<Standing> {
        let known = self.workspaces.get(&workspace).filter(|(_, until)| *until > Instant::now());
        known.map(|(standing, _)| *standing)
    }

    pub(super) fn forget(&mut self, tenant: TenantId, workspace: WorkspaceId) {
        self.forgotten += 1;
        self.workspaces.remove(&(tenant, workspace));
    }

    pub(super) fn remember(&mut self, workspace: (TenantId, WorkspaceId), standing: Standing, forgotten: u64) {
        if self.forgotten != forgotten || !self.unseen.is_empty() {
            return;
        }
        if self.workspaces.len() >= limits::WORKSPACES_REMEMBERED_MAX {
            let now = Instant::now();
            self.workspaces.retain(|_, (_, until)| *until > now);
        }
        if self.workspaces.len() >= limits::WORKSPACES_REMEMBERED_MAX {
            self.workspaces.clear();
        }
        let until = Instant::now() + Duration::from_millis(limits::WORKSPACE_REMEMBERED_MS);
        self.workspaces.insert(workspace, (standing, until));
    }

    pub(super) fn lose_sight_of(&mut self, partition: Partition) {
        self.unseen.insert(partition);
        self.forgotten += 1;
        self.workspaces.clear();
    }
}

#[cfg(test)]
mod tests;
