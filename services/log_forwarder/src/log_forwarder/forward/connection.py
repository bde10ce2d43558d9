"""One client of the Forward listener: a thread that drains its socket into the spool.

It does nothing else: no parsing, no waiting but for room on the disk. When there is none it stops reading,
and the client's own buffer (and then the client) waits: that is the back-pressure the protocol has.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from msgpack import Unpacker, packb  # type: ignore[import-untyped]  # it ships no types

from log_forwarder.forward import handshake
from log_forwarder.forward.frames import FrameError, Framer
from log_forwarder.spool.payloads import forward_payload
from log_forwarder.spool.spool import Spool, SpoolBroken
from log_forwarder.spool.writer import SpoolWriter

_RECEIVE_BYTES = 256 * 1024
_LOOK_UP_SECONDS = 0.25  # how often a silent connection looks whether it is to end
_STALL_SECONDS = 60.0  # half a frame that does not go on; Docker gives up writing after 5
_HANDSHAKE_SECONDS = 10.0
_MOST_UNFINISHED_BYTES = 64 * 1024 * 1024  # half frames of all connections together


class Listener(Protocol):
    """Who is told what clients did."""

    def forward_refused(self, client: str, *, why: str) -> None:
        """A connection was ended because of what the client sent, or did not send."""

    def forward_truncated(self, client: str, *, discarded_bytes: int) -> None:
        """A client ended in the middle of a frame; it sends the whole frame again."""


class Unfinished:
    """How many bytes of half frames all connections hold together. Any thread."""

    def __init__(self, most_bytes: int = _MOST_UNFINISHED_BYTES) -> None:
        self._most_bytes = most_bytes
        self._mutex = threading.Lock()
        self._held_bytes = 0

    def change(self, by_bytes: int) -> bool:
        """Take note; return False when it is too much now."""
        with self._mutex:
            self._held_bytes += by_bytes
            return by_bytes <= 0 or self._held_bytes <= self._most_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all connections have in common.

    Attributes:
        spool: where frames go.
        writer: how they get there.
        unfinished: what they hold together.
        listener: who is told.
        monotonic: the time, in seconds.
        is_over: whether connections are to end now, whatever the client does.
        shared_key: clients must know it; empty: no handshake.
        hostname: ours, for the handshake.
    """

    spool: Spool
    unfinished: Unfinished
    listener: Listener
    monotonic: Callable[[], float]
    writer: SpoolWriter
    is_over: Callable[[], bool]
    shared_key: str = ""
    hostname: str = ""


class Connection:
    """Serves one client until it leaves, misbehaves, or the listener ends."""

    def __init__(self, client: socket.socket, name: str, terms: Terms) -> None:
        self._client = client
        self._name = name
        self._terms = terms
        self._framer = Framer()
        self._held_bytes = 0
        self._early = b""  # what a client sent right behind its PING

    def serve(self) -> None:
        """Drain the socket. Ends for every reason a client can give, and harms no other."""
        try:
            self._client.settimeout(_LOOK_UP_SECONDS)
            if not self._terms.shared_key or self._shake_hands():
                self._drain()
            if self._framer.held_bytes:
                self._terms.listener.forward_truncated(self._name, discarded_bytes=self._framer.held_bytes)
        except FrameError as err:
            self._terms.listener.forward_refused(self._name, why=str(err))
        except (OSError, SpoolBroken):
            pass  # a client that is gone repeats what was not acknowledged; a broken disk ends the process
        finally:
            self._terms.unfinished.change(-self._held_bytes)
            self._client.close()

    def _drain(self) -> None:
        heard_at = self._terms.monotonic()
        if self._early:
            self._take(self._early)
            self._account()
        while not self._terms.is_over():
            data = self._receive()
            now = self._terms.monotonic()
            if data == b"":
                return
            if data is not None:
                heard_at = now
                self._take(data)
                self._account()
            elif self._framer.held_bytes and now - heard_at > _STALL_SECONDS:
                raise FrameError(f"half a frame, and nothing more for {_STALL_SECONDS:g} s")

    def _account(self) -> None:
        """Count our half frame among those of all connections."""
        grown = self._framer.held_bytes - self._held_bytes
        self._held_bytes += grown
        if not self._terms.unfinished.change(grown):
            raise FrameError("all connections together hold too many half frames")

    def _receive(self) -> bytes | None:
        """Return what came, b"" at the end, None when nothing came for a while."""
        try:
            return self._client.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return None

    def _take(self, data: bytes) -> None:
        taken = self._framer.take(data)
        if not taken.frames:
            return
        end = self._terms.writer.append(forward_payload(taken.frames))
        if end is None:
            return
        if taken.chunks and self._wait_until_durable(end):
            self._client.settimeout(_HANDSHAKE_SECONDS)
            self._client.sendall(b"".join(_ack(chunk) for chunk in taken.chunks))
            self._client.settimeout(_LOOK_UP_SECONDS)

    def _wait_until_durable(self, end: int) -> bool:
        while not self._terms.is_over():
            if self._terms.spool.wait_until_durable(end, timeout_seconds=_LOOK_UP_SECONDS):
                return True
        return False

    def _shake_hands(self) -> bool:
        nonce = secrets.token_bytes(handshake.NONCE_BYTES)
        self._client.settimeout(_HANDSHAKE_SECONDS)
        self._client.sendall(packb(handshake.helo(nonce)))
        unpacker = Unpacker(raw=True, max_buffer_size=handshake.MAX_PING_BYTES)
        deadline = self._terms.monotonic() + _HANDSHAKE_SECONDS
        while self._terms.monotonic() < deadline and not self._terms.is_over():
            data = self._client.recv(handshake.MAX_PING_BYTES)
            if not data:
                return False
            ping = _first(unpacker, data)
            if ping is None:
                continue
            answer = handshake.answer(
                ping, nonce=nonce, shared_key=self._terms.shared_key, hostname=self._terms.hostname
            )
            self._client.sendall(packb(answer.pong))
            self._client.settimeout(_LOOK_UP_SECONDS)
            self._early = unpacker.read_bytes(handshake.MAX_PING_BYTES)
            if not answer.is_accepted:
                raise FrameError(
                    f"no handshake: {answer.pong[2]}. Give it the key of LOG_FORWARDER_FORWARD_SHARED_KEY"
                )
            return True
        raise FrameError(f"no PING within {_HANDSHAKE_SECONDS:g} s")


def _first(unpacker: Unpacker, data: bytes) -> object | None:
    """Return the first whole message; None when it is not whole yet."""
    try:
        unpacker.feed(data)
        return next(iter(unpacker), None)
    except Exception as err:  # msgpack raises half a dozen kinds; each means the same here
        raise FrameError(f"the answer to HELO is not msgpack: {type(err).__name__}") from err


def _ack(chunk: object) -> bytes:
    """Spell the id as text, whatever it came as: Docker's driver repeats for ever after a binary one."""
    text = chunk.decode(errors="surrogateescape") if isinstance(chunk, bytes) else chunk
    return bytes(packb({"ack": text}, unicode_errors="surrogateescape"))
