//! A record that no owner could write: it is put into the topic past all transactions, as if fencing had failed.

use std::time::Duration;

use annals_engine::log::RawBatch;
use annals_model::engine_record::Claim;
use annals_model::envelope::{Envelope, Record, RequestRef, put_frame};
use annals_model::ids::{AggregateId, ClientRequestId, CommitIndex, OperationId, Partition, Scope};
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, Sequence};
use annals_schemas::contexts::PORTFOLIO;
use anyhow::{Context as _, anyhow};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use uuid::Uuid;

use crate::cluster::bed::Bed;
use crate::cluster::workload::Place;

/// Appends a registration, as the claim before the newest one would have written it.
pub(super) async fn put(bed: &Bed, place: &Place) -> anyhow::Result<()> {
    let at = ContextPartition { context: PORTFOLIO, partition: Partition(Bed::partition(place)) };
    let bytes = forge(bed, place, at).await?;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", bed.brokers()).set("acks", "all").create()?;
    let topic = format!("{}.{}.events", bed.prefix(), PORTFOLIO.name);
    let record = FutureRecord::<[u8], [u8]>::to(&topic).partition(i32::from(at.partition.0)).payload(&bytes).key(b"f");
    producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| anyhow!("{error}"))?;
    Ok(())
}

/// The newest registration once more, of another application and of the claim before the newest.
async fn forge(bed: &Bed, place: &Place, at: ContextPartition) -> anyhow::Result<Vec<u8>> {
    let (end, mut reader) = (bed.log().end(at).await?, bed.log().reader(at, Offset::START).await?);
    let (mut claims, mut newest, mut batch) = (vec![ClaimEpoch::ZERO], None, RawBatch::default());
    let mut ordinal = annals_model::position::Ordinal::ZERO;
    while reader.position() < end {
        reader.next(&mut batch).await?;
        for (offset, bytes) in batch.iter() {
            if Claim::decode(bytes)?.is_some() {
                claims.push(ClaimEpoch(offset.after().0));
                continue;
            }
            let envelope = Record::decode(offset, bytes)?.envelope;
            ordinal = envelope.ordinal;
            if envelope.event_type == "application.registered" {
                newest = Some((offset, bytes.to_vec()));
            }
        }
    }
    let (offset, bytes) = newest.context("an application was registered")?;
    let record = Record::decode(offset, &bytes)?;
    let older = claims.iter().rev().nth(1).copied().context("two claims")?;
    let request = ClientRequestId::new("forged").map_err(anyhow::Error::from)?;
    let scope = Scope { tenant: place.tenant, workspace: place.workspace };
    let operation = OperationId::derive(PORTFOLIO, scope, &request);
    let fingerprint = record.envelope.request.context("its command's first event")?.fingerprint;
    let envelope = Envelope {
        event_id: operation.event(CommitIndex(0)),
        tenant_id: place.tenant,
        workspace_id: place.workspace,
        aggregate_id: AggregateId(Uuid::from_u128(0xf0)),
        sequence: Sequence(1),
        ordinal: ordinal.next(),
        claim_epoch: older,
        request: Some(RequestRef { client_request_id: request.as_str(), fingerprint }),
        ..record.envelope.clone()
    };
    let mut forged = Vec::new();
    put_frame(&mut forged, record.schema);
    envelope.encode(&mut forged);
    forged.extend_from_slice(record.payload);
    Ok(forged)
}
