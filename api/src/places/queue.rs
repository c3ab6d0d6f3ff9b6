//! Requests that wait for room: a lane for each client and target.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::{Place, Wanted};

/// All that wait for places of one kind.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: HashMap<Wanted, VecDeque<(u64, oneshot::Sender<Place>)>>,
    waiting: usize,
    waiting_max: usize,
    tickets: u64,
}

impl Queue {
    pub(super) fn new(waiting_max: usize) -> Self {
        Self { lanes: HashMap::new(), waiting: 0, waiting_max, tickets: 0 }
    }

    /// Puts somebody behind those like them. Where too many wait, the last of the longest lane is told off for it: of
    /// those who send the most.
    pub(super) fn push(&mut self, wanted: Wanted, grant: oneshot::Sender<Place>) -> u64 {
        self.tickets += 1;
        self.lanes.entry(wanted).or_default().push_back((self.tickets, grant));
        self.waiting += 1;
        if self.waiting > self.waiting_max
            && let Some(longest) = self.lanes.iter().max_by_key(|(_, lane)| lane.len()).map(|(wanted, _)| *wanted)
        {
            // Dropping the sender tells them.
            self.take(longest, VecDeque::pop_back);
        }
        self.tickets
    }

    /// Who is next in each lane: what they want, and since when in the order of all.
    pub(super) fn fronts(&self) -> impl Iterator<Item = (Wanted, u64)> {
        self.lanes.iter().filter_map(|(wanted, lane)| lane.front().map(|(ticket, _)| (*wanted, *ticket)))
    }

    /// The next of a lane.
    pub(super) fn pop(&mut self, wanted: Wanted) -> Option<oneshot::Sender<Place>> {
        self.take(wanted, VecDeque::pop_front)
    }

    /// Somebody waits no longer.
    pub(super) fn remove(&mut self, wanted: Wanted, ticket: u64) {
        self.take(wanted, |lane| {
            let index = lane.iter().position(|(other, _)| *other == ticket)?;
            lane.remove(index)
        });
    }

    fn take(
        &mut self,
        wanted: Wanted,
        choose: impl FnOnce(&mut VecDeque<(u64, oneshot::Sender<Place>)>) -> Option<(u64, oneshot::Sender<Place>)>,
    ) -> Option<oneshot::Sender<Place>> {
        let lane = self.lanes.get_mut(&wanted)?;
        let taken = choose(lane);
        if lane.is_empty() {
            self.lanes.remove(&wanted);
        }
        self.waiting -= usize::from(taken.is_some());
        taken.map(|(_, grant)| grant)
    }
}
