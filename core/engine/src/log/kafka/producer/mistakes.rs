//! What a producer does wrong on purpose, and where a test may stop it, in builds with the feature `seeded-bugs`.

use std::time::Duration;

use annals_model::position::RecordOffset;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;

use super::{Destination, Failure, Outgoing, Producer, SOCKET_TIMEOUT_MS};
use crate::seeded::{Hand, Point, SeededBug, is_held, is_on, reached};

impl Producer {
    /// Records are produced, and not committed: they are on the brokers while a test holds us here.
    pub(super) fn produced(&self) {
        if is_held(Point::Produced) {
            self.wait_for_the_brokers();
            reached(Point::Produced);
        }
    }

    /// Where the records lie before they are committed.
    pub(in crate::log::kafka) fn produce_only<'a>(
        &self,
        to: &Destination,
        records: impl Iterator<Item = Outgoing<'a>>,
    ) -> Result<Vec<RecordOffset>, Failure> {
        let count = self.produce_all(to, records)?;
        self.wait_for_the_brokers();
        self.positions(count)
    }

    /// A commit does this on its own.
    fn wait_for_the_brokers(&self) {
        // What is not delivered in time is found by the commit.
        let _ = self.producer.flush(Duration::from_millis(SOCKET_TIMEOUT_MS));
    }
}

type Committed = Result<(), (RDKafkaErrorCode, String)>;

/// What is heard of a commit: it may get lost, and with the mistake it is good news whatever it was.
pub(super) fn heard(committed: Committed) -> Result<Committed, Failure> {
    match committed {
        Ok(()) if reached(Point::Committed) == Hand::Lost => Err(Failure::Unknown("its answer was lost".into())),
        Err(_) if is_on(SeededBug::CommitOutcomeIgnored) => Ok(Ok(())),
        committed => Ok(committed),
    }
}
