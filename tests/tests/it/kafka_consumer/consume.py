"""Reads topics to their ends with confluent-kafka's own Avro deserializer, and prints a line of JSON per record."""

import datetime
import json
import sys
import uuid

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def plain(value):
    """JSON has no times, ids and bytes."""
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value)) if len(value) == 16 else value.hex()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def main(brokers, registry, topics):
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": "stock",
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    known = consumer.list_topics(timeout=10).topics
    partitions = [TopicPartition(topic, number, 0) for topic in topics for number in known[topic].partitions]
    consumer.assign(partitions)
    open_partitions = {(partition.topic, partition.partition) for partition in partitions}
    while open_partitions:
        message = consumer.poll(30)
        if message is None:
            sys.exit("nothing came for 30 s")
        if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
            open_partitions.discard((message.topic(), message.partition()))
        elif message.error():
            sys.exit(str(message.error()))
        elif message.value() is not None:
            record = deserialize(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
            line = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
            print(json.dumps({**line, "record": plain(record)}))
    consumer.close()


main(sys.argv[1], sys.argv[2], sys.argv[3:])
