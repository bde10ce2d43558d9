"""An event of the Forward protocol -> whose line it is, and the line. Pure.

What is the same for all lines of a container (its name and id, stdout or stderr, the ECS task) is about
the stream and costs nothing per line. A record that holds only that and ``log`` is the log line itself.
Any other record is one line of JSON.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any, NamedTuple

from log_forwarder.forward.codec import Event
from log_forwarder.spool.keys import StreamKey

# https://github.com/moby/moby/blob/master/daemon/logger/fluentd/fluentd.go, and what the ECS agent's
# generated configuration adds: https://github.com/aws/amazon-ecs-agent (agent/taskresource/firelens)
_ABOUT = {
    b"container_name": "container_name",
    b"container_id": "container_id",
    b"source": "output",
    b"ecs_cluster": "ecs_cluster",
    b"ecs_task_arn": "ecs_task_arn",
    b"ecs_task_definition": "ecs_task_definition",
    b"ec2_instance_id": "ec2_instance_id",
}
_NAMES = _ABOUT.keys()
_DOCKER_KEYS = 4  # log, container_id, container_name, source
_PARTIAL = (b"partial_message", b"partial_id", b"partial_ordinal", b"partial_last")
_JOINABLE = {b"log", *_NAMES, *_PARTIAL}  # a record that says more is sent whole, with what it says of parts
_MOST_REMEMBERED = 4096
_DEEPEST = 32


class Part(NamedTuple):
    """This line is a part of a longer one.

    Attributes:
        id: of the longer line.
        is_last: whether it ends here.
    """

    id: bytes
    is_last: bool


# A tuple and not a class: one is made per line. Whose, the line without a newline, None for a whole line.
Message = tuple[StreamKey, bytes, Part | None]


class Messages:
    """Reads events; remembers the streams it saw, to spell each only once."""

    def __init__(self) -> None:
        self._streams: dict[tuple[Any, ...], StreamKey] = {}

    def read(self, event: Event) -> Message:
        """Return what an event says. Every event is a line, also one that could not be understood."""
        tag, record, unreadable = event
        if record is None:
            return self._stream(tag, {}), _unreadable(unreadable), None
        if len(record) == _DOCKER_KEYS and (stream := self._docker_stream(tag, record)):
            text = record.get(b"log")
            if type(text) is bytes and b"\n" not in text:
                return stream, text, None
        is_part = b"partial_message" in record and record.keys() <= _JOINABLE
        part = _take_part(record) if is_part else None
        text = record.pop(b"log", None)
        if type(text) is bytes and record.keys() <= _NAMES:
            text = text.removesuffix(b"\n")
            if b"\n" not in text:
                return self._stream(tag, record), text, part
        known = {name: record.pop(name) for name in _ABOUT if type(record.get(name)) is bytes}
        if text is not None:
            record[b"log"] = text
        return self._stream(tag, known), _json(record), None

    def _docker_stream(self, tag: bytes, record: dict[Any, Any]) -> StreamKey | None:
        """Return the stream of a record as Docker's driver makes most, at half the cost."""
        get = record.get
        key = (tag, get(b"container_id"), get(b"source"), get(b"container_name"))
        try:
            stream = self._streams.get(key)
        except TypeError:
            return None
        if stream is None and b"log" in record and all(type(value) is bytes for value in key):
            stream = self._remember(key, _spell(tag, record))
        return stream

    def _remember(self, key: tuple[Any, ...], stream: StreamKey) -> StreamKey:
        if len(self._streams) >= _MOST_REMEMBERED:
            self._streams.clear()
        self._streams[key] = stream
        return stream

    def _stream(self, tag: bytes, known: dict[Any, Any]) -> StreamKey:
        key: tuple[Any, ...] = (tag, len(known), *map(known.get, _ABOUT))
        try:
            stream = self._streams.get(key)
        except TypeError:  # a value that is a list or a map
            return self._stream(tag, {name: _json(value) for name, value in known.items()})
        return stream or self._remember(key, _spell(tag, known))


def _spell(tag: bytes, known: dict[Any, Any]) -> StreamKey:
    about = [("tag", _text(tag))] if tag else []
    for name, spelled in _ABOUT.items():
        if name in known:
            value = known[name]
            text = _text(value) if isinstance(value, bytes) else str(value)
            about.append((spelled, text.removeprefix("/") if name == b"container_name" else text))
    output = dict(about).get("output")
    return StreamKey("forward", f"forward:{_text(tag)}" + (f":{output}" if output else ""), tuple(about))


def _take_part(record: dict[Any, Any]) -> Part:
    values = {name: record.pop(name, b"") for name in _PARTIAL}
    part_id = values[b"partial_id"]
    return Part(part_id if isinstance(part_id, bytes) else b"", values[b"partial_last"] in (b"true", True))


def _unreadable(frame: bytes) -> bytes:
    return json.dumps({"unreadable_forward_frame_base64": base64.b64encode(frame).decode()}).encode()


def _json(value: Any) -> bytes:
    return json.dumps(_plain(value, 0), ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: Any, depth: int) -> Any:
    """Return a value that JSON can spell; what it cannot is spelled as text."""
    if isinstance(value, bytes):
        return _text(value)
    if depth < _DEEPEST and isinstance(value, dict):
        return {_name(name): _plain(inner, depth + 1) for name, inner in value.items()}
    if depth < _DEEPEST and isinstance(value, list):
        return [_plain(inner, depth + 1) for inner in value]
    if isinstance(value, tuple):  # an extension type (see forward.codec)
        return base64.b64encode(value[0]).decode()
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if value is None or is_number else str(value)


def _name(name: Any) -> str:
    return _text(name) if isinstance(name, bytes) else str(name)


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
