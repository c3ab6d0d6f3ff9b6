use std::collections::BTreeMap;

use annals_model::ids::{ContextId, Partition};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::log::kafka::settings::Clients;

const TOPIC: &str = "events";
const REFUSED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
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
    for from in [Offset(0), Offset(2)] {
        cluster.request_errors(RDKafkaApiKey::Fetch, &[REFUSED; 8]);
        let opened = PartitionReader::open(&tails, Arc::clone(&positions), AT, TOPIC.into(), from);
        let mut reader = opened.await.unwrap().following();
        let mut batch = RawBatch::default();
        let error = loop {
            if let Err(error) = wait_and_read(&mut reader, &mut batch).await {
                break error;
            }
        };
        assert!(matches!(&error, ReadError::Unavailable(_)), "{error}");
        // Nothing was read: it stands where it stood, however often it is asked, and is refused again or not.
        for _ in 0..3 {
            let _ = reader.read(&mut batch).await;
            assert_eq!((reader.position(), batch.len()), (from, 0));
        }
        cluster.clear_request_errors(RDKafkaApiKey::Fetch);
        while reader.position() < Offset(3) {
            // What was refused before may be told only now.
            let _ = wait_and_read(&mut reader, &mut batch).await;
        }
        assert_eq!(batch.len() as u64, 3 - from.0, "nothing was passed over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_all_fetch_anew_do_not_wait_for_each_others_places() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let servers = cluster.bootstrap_servers();
    produce(&servers, 1);
    let clients = Clients::new(&servers, &BTreeMap::new()).unwrap();
    let positions = Arc::new(Positions::connect(&clients).unwrap());
    let lookups = Arc::new(ReaderClients::bounded_lookups(&clients).unwrap());
    let mut readers = Vec::new();
    for _ in 0..limits::KAFKA_LOOKUP_CLIENTS_MAX {
        let opened = PartitionReader::open(&lookups, Arc::clone(&positions), AT, TOPIC.into(), Offset::START);
        readers.push(opened.await.unwrap());
    }
    let anew = futures_util::future::join_all(readers.iter_mut().map(PartitionReader::fetch_anew));
    let anew = tokio::time::timeout(Duration::from_secs(60), anew).await.unwrap();
    assert!(anew.iter().all(Result::is_ok), "{anew:?}");
    assert!(lookups.used().clients <= limits::KAFKA_LOOKUP_CLIENTS_MAX as u64);
}
