//! Standing by: the log is folded as it grows, and whoever asks is told that another process owns the partition.

use std::time::Duration;

use tracing::{debug, warn};

use super::owning::{Owning, Woken, stopped};
use crate::limits;
use crate::owners::PartitionState;
use crate::owners::replay::follow;

impl Owning {
    /// Folds ahead and refuses inputs until the partition should be owned here, at least for `pause`.
    pub(super) async fn stand_by(&mut self, pause: Duration) -> Woken {
        if pause.is_zero() && self.assignment.includes(self.at) && !*self.stopping.borrow() {
            // What is this process's from the start, or again, is claimed before anybody is refused.
            return Woken::Assigned;
        }
        self.state.send_replace(PartitionState::NotOwner);
        let Self { at, log, context, store, inputs, assignment, stopping, .. } = self;
        let due = async {
            tokio::time::sleep(pause).await;
            assignment.becomes(*at, true).await;
        };
        let ahead = async {
            loop {
                let Err(failure) = follow(&**log, *at, context, &mut **store).await;
                if !failure.is_transient() {
                    // It is never claimed here as it is: the try to do so meets this before the claim.
                    warn!(%at, %failure, "the log is not folded ahead");
                    std::future::pending::<()>().await;
                }
                debug!(%at, %failure, "the log cannot be followed now, trying again");
                tokio::time::sleep(Duration::from_millis(limits::STANDBY_RETRY_MS)).await;
            }
        };
        tokio::pin!(due, ahead);
        loop {
            tokio::select! {
                biased;
                () = stopped(stopping) => return Woken::ShuttingDown,
                () = &mut due => return Woken::Assigned,
                input = inputs.recv() => match input {
                    Some(input) => input.refuse(&PartitionState::NotOwner, *at),
                    None => return Woken::ShuttingDown,
                },
                () = &mut ahead => unreachable!("the log is followed for ever"),
            }
        }
    }
}
