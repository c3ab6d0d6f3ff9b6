//! Are the topics still as they must be? An administrator can make one eat history, or delete it, while we run. That is
//! looked for now and then; while it lasts nothing is appended, and when it is put right work goes on.

use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_model::ids::ContextId;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::registry::{check_count, events_topic};
use super::settings::{EVENTS_TOPIC, META_TOPIC};
use super::topics::Topics;
use super::{KafkaLog, OpenError, proofs_topic};
use crate::limits;

/// Why nothing may be appended now.
pub(super) type Trouble = Option<Arc<str>>;

/// Looks at the topics until it is dropped.
#[derive(Debug)]
pub(super) struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Guard {
    pub(super) fn start(log: Weak<KafkaLog>, trouble: watch::Receiver<Trouble>) -> Self {
        let watching = tokio::spawn(async move {
            loop {
                // What is wrong is looked at more often, so that work goes on soon after it was put right.
                let pause = match trouble.borrow().is_some() {
                    true => limits::KAFKA_TROUBLE_CHECK_MS,
                    false => limits::KAFKA_TOPICS_CHECK_MS,
                };
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let Some(log) = log.upgrade() else { return };
                // Told where it is found.
                let _ = log.check_topics().await;
            }
        });
        Self(watching.abort_handle())
    }
}

impl KafkaLog {
    /// Looks whether the topics are still as they must be. Happens by itself about once a minute; while they are not,
    /// no partition is claimed and nothing is appended.
    pub async fn check_topics(&self) -> Result<(), OpenError> {
        let found = self.look_at_topics().await;
        match &found {
            Ok(()) => {
                if self.trouble.send_replace(None).is_some() {
                    tracing::info!("the topics are as they must be again");
                }
            }
            // Says nothing about them.
            Err(OpenError::Unreachable(_) | OpenError::Unsettled(_) | OpenError::Client(_)) => {}
            Err(error) => {
                let told: Arc<str> = error.to_string().into();
                let is_news = self.trouble.send_replace(Some(Arc::clone(&told))).is_none_or(|before| before != told);
                if is_news {
                    tracing::error!(error = %told, "the log cannot be appended to");
                }
            }
        }
        found
    }

    async fn look_at_topics(&self) -> Result<(), OpenError> {
        let topics = Topics::connect(&self.clients, &self.positions)?;
        let seen = topics.look_again(self.meta.topic()).await?;
        if seen.partitions == 0 {
            return Err(OpenError::TopicLost(self.meta.topic().to_owned()));
        }
        topics.check(self.meta.topic(), seen, META_TOPIC).await?;
        if self.serves {
            topics.settle_proofs(&proofs_topic(&self.options)).await?;
        }
        let mut contexts: Vec<(ContextId, u16)> = self.partitions.iter().map(|(at, count)| (*at, *count)).collect();
        contexts.sort_by_key(|(context, _)| context.number);
        for (context, count) in contexts {
            let topic = events_topic(&self.options.prefix, context);
            let seen = topics.look_again(&topic).await?;
            if seen.partitions == 0 {
                return Err(OpenError::TopicLost(topic));
            }
            topics.check(&topic, seen, EVENTS_TOPIC).await?;
            check_count(&self.options, topic, seen, count)?;
        }
        Ok(())
    }
}
