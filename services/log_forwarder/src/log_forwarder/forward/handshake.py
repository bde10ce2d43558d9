"""The shared-key handshake: each side proves that it knows the key without sending it. Pure.

::

    server  ["HELO", {"nonce": ..., "auth": "", "keepalive": true}]
    client  ["PING", hostname, salt, sha512(salt + hostname + nonce + key), user, password digest]
    server  ["PONG", is accepted, reason, hostname, sha512(salt + hostname + nonce + key)]
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, NamedTuple

NONCE_BYTES = 16
MAX_PING_BYTES = 8 * 1024


class Answer(NamedTuple):
    """What to send for a PING.

    Attributes:
        pong: the message.
        is_accepted: whether the client knows the key.
    """

    pong: list[Any]
    is_accepted: bool


def helo(nonce: bytes) -> list[Any]:
    """Return the server's greeting. The nonce is as unpredictable as the caller makes it."""
    return ["HELO", {"nonce": nonce, "auth": b"", "keepalive": True}]


def answer(ping: object, *, nonce: bytes, shared_key: str, hostname: str) -> Answer:
    """Judge a client's PING (strings as bytes). Comparison takes the same time wherever digests differ."""
    key = shared_key.encode()
    match ping:
        case [b"PING", bytes(client), bytes(salt), bytes(digest), *_]:
            if hmac.compare_digest(_digest(salt, client, nonce, key), digest):
                ours = _digest(salt, hostname.encode(), nonce, key)
                return Answer(["PONG", True, "", hostname, ours.decode()], is_accepted=True)
            reason = "shared_key mismatch"
        case _:
            reason = "PING expected"
    return Answer(["PONG", False, reason, "", ""], is_accepted=False)


def _digest(salt: bytes, hostname: bytes, nonce: bytes, key: bytes) -> bytes:
    return hashlib.sha512(salt + hostname + nonce + key).hexdigest().encode()
