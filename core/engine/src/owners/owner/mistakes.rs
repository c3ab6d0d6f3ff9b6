//! What an owner does wrong on purpose, in builds with the feature `seeded-bugs`.

use annals_model::position::Checkpoint;
use tokio::time::Instant;

use super::owning::{Owning, Proven};
use super::serving::After;
use crate::log::Claimed;
use crate::owners::batch::{Batch, RETRY_AFTER};
use crate::owners::mailbox::Input;
use crate::owners::state::Changes;
use crate::seeded::{SeededBug, is_on};

impl Owning {
    /// What comes of a batch if the owner makes the mistake that is on.
    pub(super) async fn mistaken(&mut self, after: After) -> After {
        match after {
            After::Reclaim(batch) if is_on(SeededBug::RetryUnknownWithoutReading) => self.decide_again(*batch).await,
            after => after,
        }
    }

    async fn decide_again(&mut self, batch: Batch) -> After {
        let asked = self.clock.moment();
        match self.log.claim(self.at, self.owner.clone()).await {
            Ok(Claimed { writer, .. }) => {
                // Without its ordinals the log would refuse the append: it learns where the log ends, not what is in it.
                let ordinal = self.log.last_ordinal(self.at).await.unwrap_or_default();
                self.store.apply(Changes::default(), Checkpoint { ordinal, ..self.store.position() });
                self.serve(Proven { writer, at: asked }, inputs_of(batch)).await
            }
            Err(_) => After::Lost,
        }
    }
}

fn inputs_of(batch: Batch) -> Vec<Input> {
    let deadline = Instant::now() + RETRY_AFTER * 100;
    let commands = batch.replies.into_iter();
    commands.map(|reply| Input::Command { request: reply.request, deadline, reply: reply.sender }).collect()
}
