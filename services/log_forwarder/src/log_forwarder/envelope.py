"""One line of a file -> one line of the stream. Pure.

``json`` puts each line in an object of its own, so that a reader of the bucket knows where it came
from and can remove duplicates::

    {"id":"9c1185a5c5e9fc54.1024-1311","source":"/logs/…/attempt=1.log","dag_id":"etl",…,"log":{…}}

The line is under exactly one of three keys, each with one type, and can be got back exactly:

``log``             it was a JSON object: its own bytes
``message``         it was other UTF-8 text
``message_base64``  it was not UTF-8 (or its escaped text would not fit a record)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from log_forwarder.airflow_path import identify
from log_forwarder.batching import MAX_RECORD_BYTES
from log_forwarder.framing import Piece

# A piece must fit a record in its worst spelling. base64 makes 700,000 bytes 933,336; that leaves
# 90,000 for the rest of the object: a path of PATH_MAX (4,096 bytes, escaped at most six times) twice.
JSON_PIECE_BYTES = 700_000
RAW_PIECE_BYTES = MAX_RECORD_BYTES - 1  # and its newline

_OBJECT_FIRST = 0x7B  # {


class Encode(Protocol):
    """Turns a piece into the bytes that are sent, newline included."""

    def __call__(self, piece: Piece) -> bytes:
        """Return the bytes, at most ``MAX_RECORD_BYTES``."""


class JsonLines:
    """Encodes the lines of one file as JSON objects.

    Args:
        source: the file's identity; with the offsets it makes each line's ``id``.
        path: the file's path when it was first seen.
        ecs: facts about the ECS task; may be empty.
    """

    def __init__(self, *, source: str, path: str, ecs: Mapping[str, str]) -> None:
        about: dict[str, Any] = {"source": _printable(path), **identify(_printable(path))}
        if ecs:
            about["ecs"] = dict(ecs)
        self._before = f'{{"id":"{source}.'.encode()
        self._about = b'",' + _dump(about)[1:-1] + b","

    def __call__(self, piece: Piece) -> bytes:
        """Return the piece as one line of JSON."""
        head = b"%b%d-%d%b%b" % (self._before, piece.start, piece.end, self._about, _flags(piece))
        line = head + _body(piece) + b"}\n"
        if len(line) > MAX_RECORD_BYTES:
            return head + _base64(piece.text) + b"}\n"
        return line


def raw_lines(piece: Piece) -> bytes:
    """Return the piece's own bytes. A flushed tail gets the newline that keeps it from the next line."""
    return piece.text + b"\n" if piece.is_last else piece.text


def _flags(piece: Piece) -> bytes:
    if piece.part:
        flags = b'"part":%d,"is_last_part":%b,' % (piece.part, b"true" if piece.is_last else b"false")
    else:
        flags = b""
    return flags if piece.is_terminated or not piece.is_last else flags + b'"unterminated":true,'


def _body(piece: Piece) -> bytes:
    text = piece.text
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return _base64(text)
    if text and text[0] == _OBJECT_FIRST and not piece.part and _is_json(decoded):
        return b'"log":' + text
    return b'"message":' + _dump(decoded)


def _base64(text: bytes) -> bytes:
    return b'"message_base64":"' + base64.b64encode(text) + b'"'


def _is_json(text: str) -> bool:
    try:
        _DECODER.decode(text)
    except (ValueError, RecursionError):  # RecursionError: thousands of open brackets are text to us
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON, though Python reads it")


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # json.loads would make one per line, a third of its time


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _printable(path: str) -> str:
    r"""Spell the bytes of a path that are not UTF-8 as \\xNN; JSON could not carry them."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
