use std::collections::BTreeMap;

use annals_model::ids::{ContextId, Partition};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::log::kafka::settings::Clients;

const TOPIC: &str = "events";
const AT: ContextPartition =
    ContextPartition { context: ContextId { number: 1, name: "events" }, partition: Partition(0) };

fn produce(servers: &str, records: usize) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    for _ in 0..records {
        producer.send(BaseRecord::<[u8], [u8]>::to(TOPIC).partition(0).payload(b"record")).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

async fn wait_and_read(reader: &mut PartitionReader, batch: &mut RawBatch) -> Result<bool, ReadError> {
    reader.wait().await?;
    reader.read(batch).await
}

// What brokers refuse is the one thing that a mocked cluster can say on demand, and all that is asked of it here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_never_moves_past_an_error() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let servers = cluster.bootstrap_servers();
    produce(&servers, 3);
    let clients = Clients::new(&servers, &BTreeMap::new()).unwrap();
    let positions = Arc::new(Positions::connect(&clients).unwrap());
    let tails = Arc::new(ReaderClients::tails(&clients).unwrap());
    let opened = PartitionReader::open(&tails, positions, AT, TOPIC.into(), Offset::START);
    let mut reader = opened.await.unwrap().following();
    let mut batch = RawBatch::default();
    while batch.len() < 3 {
        wait_and_read(&mut reader, &mut batch).await.unwrap();
    }
    for round in 3..6 {
        // Until it is told of: a fetch that was given up takes one as well, and the same one twice is not told again.
        let error = loop {
            let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
            cluster.request_errors(RDKafkaApiKey::Fetch, &[refused]);
            if let Err(error) = wait_and_read(&mut reader, &mut batch).await {
                break error;
            }
        };
        cluster.clear_request_errors(RDKafkaApiKey::Fetch);
        assert!(matches!(&error, ReadError::Unavailable(_)), "{error}");
        // Nothing new is there: it stands where it stood, however often it is asked.
        for _ in 0..3 {
            assert!(!reader.read(&mut batch).await.unwrap());
            assert_eq!(reader.position(), Offset(round));
        }
        produce(&servers, 1);
        while reader.position() < Offset(round + 1) {
            wait_and_read(&mut reader, &mut batch).await.unwrap();
        }
        assert_eq!(batch.len() as u64, round + 1, "nothing was passed over");
    }
}
