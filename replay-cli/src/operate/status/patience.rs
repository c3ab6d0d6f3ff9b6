//! How long a store is waited for: whoever asks for the status wants to know that it does not answer.

use std::sync::OnceLock;
use std::time::Duration;

use annals_engine::sink::StoreError;
use annals_model::application::Application;
use annals_model::ids::LogId;
use annals_projectors::deployment::Deployment;
use annals_stores::sinks::Store;

use crate::exit::Failure;
use crate::failure::open_store_failure;
use crate::limits;

/// Asks a store until it has not answered once.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// What is said of the registry since then.
    lost: OnceLock<String>,
}

impl Patience {
    /// The answer, unless it takes longer than [`limits::STATUS_ANSWER_MS_MAX`]. Once the registry cannot be reached, no
    /// further question waits as long.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        if let Some(cause) = self.lost.get() {
            return Err(StoreError::Unavailable(cause.clone()));
        }
        let answer = within(question).await.unwrap_or_else(|| Err(StoreError::Unavailable(silent())));
        if let Err(StoreError::Unavailable(cause)) = &answer {
            self.lost.get_or_init(|| cause.clone());
        }
        answer
    }
}

/// The read models of a deployment; the inner error says why their store cannot be asked now.
pub(super) async fn open_store(
    application: &Application,
    deployment: &Deployment,
    log: LogId,
) -> Result<Result<Store, String>, Failure> {
    // On the heap: it would make every future that holds it too large.
    match within(Box::pin(deployment.open_store(application, log))).await {
        Some(Ok(store)) => Ok(Ok(store)),
        Some(Err(error)) if error.may_pass() => Ok(Err(error.to_string())),
        Some(Err(error)) => Err(open_store_failure(&error)),
        None => Ok(Err(StoreError::Unavailable(silent()).to_string())),
    }
}

fn silent() -> String {
    format!("it does not answer within {} ms", limits::STATUS_ANSWER_MS_MAX)
}

async fn within<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(limits::STATUS_ANSWER_MS_MAX), answer).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_was_silent_once_is_not_waited_for_again() {
        let patience = Patience::default();
        assert_eq!(patience.ask(async { Ok(1) }).await, Ok(1));
        let lost = patience.ask(async { Err::<(), _>(StoreError::Unavailable("gone".to_owned())) }).await.unwrap_err();
        // Were it waited for, it would be said to be silent.
        let asked = patience.ask(std::future::pending::<Result<(), StoreError>>()).await.unwrap_err();
        assert_eq!(asked, lost);
    }
}
