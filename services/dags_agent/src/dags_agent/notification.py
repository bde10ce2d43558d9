"""What a message of the events queue says, in the three forms in which S3 notifications arrive. Pure.

Direct (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html), wrapped by
an SNS subscription, or from EventBridge
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html); read 2026-11.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

_SNS_DEPTH_MAX = 2


class Kind(StrEnum):
    """What a message is to us. The value is a metric label: never rename, only add."""

    CHANGE = "change"  # something below our prefix was written or removed
    TEST = "test"  # S3 sends one when a notification is configured
    FOREIGN = "foreign"  # another bucket or prefix, or no object event
    GARBAGE = "garbage"  # nothing that can be understood


def kind_of(body: str, *, bucket: str, prefix: str) -> Kind:
    """Return what a message's body means for the objects below ``prefix`` of ``bucket``.

    A message is a hint to look, never a fact to act on: what changed is what the listing says.
    """
    document = _unwrapped(body)
    if document is None:
        return Kind.GARBAGE
    if document.get("Event") == "s3:TestEvent":
        return Kind.TEST
    named = _from_records(document) or _from_event_bridge(document)
    if named is None:
        return Kind.GARBAGE
    is_ours = any(name == bucket and key.startswith(prefix) for name, key in named)
    return Kind.CHANGE if is_ours else Kind.FOREIGN


def _unwrapped(body: str) -> dict[str, Any] | None:
    """Return the JSON object in a body, out of the envelopes that SNS may have put around it."""
    text: object = body
    for _ in range(_SNS_DEPTH_MAX + 1):
        try:
            document = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, dict):
            return None
        if document.get("Type") != "Notification" or "Message" not in document:
            return document
        text = document["Message"]
    return None


def _from_records(document: dict[str, Any]) -> list[tuple[str, str]] | None:
    """Keys in S3's own form are URL-encoded, with a plus for a space."""
    records = document.get("Records")
    if not isinstance(records, list) or not records:
        return None
    try:
        return [
            (str(record["s3"]["bucket"]["name"]), _decoded(record["s3"]["object"]["key"]))
            for record in records
        ]
    except (KeyError, TypeError):
        return None


def _from_event_bridge(document: dict[str, Any]) -> list[tuple[str, str]] | None:
    """Keys from EventBridge are not encoded."""
    try:
        detail = document["detail"]
        return [(str(detail["bucket"]["name"]), str(detail["object"]["key"]))]
    except (KeyError, TypeError):
        return None


def _decoded(key: object) -> str:
    """Undo the encoding of a key. The standard library does it in a package that decisions may not use."""
    parts = str(key).replace("+", " ").encode("utf-8", "surrogatepass").split(b"%")
    decoded = bytearray(parts[0])
    for part in parts[1:]:
        try:
            decoded += bytes([int(part[:2], 16)]) + part[2:]
        except ValueError:
            decoded += b"%" + part
    return decoded.decode("utf-8", "replace")
