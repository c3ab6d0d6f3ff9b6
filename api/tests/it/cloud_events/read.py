"""Reads CloudEvents with the official SDK, both of its interfaces, and prints a line of JSON per document: what the SDK read,
or why it refuses. A line of input is one document: an event, or a batch of them, which the SDK has no reader for."""

import datetime
import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.v1.http import from_http

STRUCTURED = {"content-type": "application/cloudevents+json"}


def plain(value):
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def refuse_what_no_attribute_may_be(attributes):
    """The specification's types of attributes; the SDK looks at the names."""
    for name, value in attributes.items():
        fits = isinstance(value, (str, bool)) or (isinstance(value, int) and -(2**31) <= value < 2**31)
        if not fits:
            raise ValueError(f"{name} is {value!r}")


def read(document):
    text = json.dumps(document).encode()
    event = from_http_event(HTTPMessage(headers=STRUCTURED, body=text))
    older = from_http(STRUCTURED, text)
    attributes = {name: plain(value) for name, value in event.get_attributes().items()}
    refuse_what_no_attribute_may_be(attributes)
    if event.get_data() != older.get_data() or set(attributes) != set(older.get_attributes()):
        raise ValueError("the SDK's two interfaces differ")
    # What was read can be written: another process takes it from there.
    JSONFormat().write(event)
    return {"attributes": attributes, "data": event.get_data()}


for line in sys.stdin:
    document = json.loads(line)
    try:
        events = [read(event) for event in (document if isinstance(document, list) else [document])]
        print(json.dumps({"events": events}))
    except Exception as error:  # noqa: BLE001 whatever it is, the document was not taken
        print(json.dumps({"refused": f"{type(error).__name__}: {error}"}))
