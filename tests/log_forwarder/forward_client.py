"""What clients of the Forward protocol put on the wire, byte for byte as Docker's driver does."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgpack  # type: ignore[import-untyped]  # it ships no types

EVENT_TIME = msgpack.ExtType(0, (1_700_000_000).to_bytes(4) + (5).to_bytes(4))


def docker_message(line: str, *, container: str = "web", chunk: str = "", **extra: str) -> bytes:
    """Return one message as the fluentd driver of Docker 20.10 sends it."""
    record = {
        "container_name": f"/{container}",
        "source": "stdout",
        "log": line,
        "container_id": hashlib.sha256(container.encode()).hexdigest(),
        **extra,
    }
    option = {"chunk": chunk} if chunk else {}
    return bytes(msgpack.packb([f"{container}-firelens-0123", EVENT_TIME, record, option]))


def docker_parts(line: str, *, container: str = "web", size: int = 16_384) -> list[bytes]:
    """Return a long line as the driver cuts it."""
    texts = [line[at : at + size] for at in range(0, len(line), size)]
    return [
        docker_message(
            text,
            container=container,
            partial_message="true",
            partial_id=hashlib.sha256(line.encode()).hexdigest(),
            partial_ordinal=str(ordinal),
            partial_last="true" if ordinal == len(texts) else "false",
        )
        for ordinal, text in enumerate(texts, start=1)
    ]


def packed_entries(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Return entries as PackedForward concatenates them."""
    return b"".join(msgpack.packb([EVENT_TIME, record]) for record in records)


class Client:
    """A connection to a listener; ``address`` is a path or a (host, port)."""

    def __init__(self, address: str | tuple[str, int], *, deadline_seconds: float = 15.0) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(deadline_seconds)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self._unpacker = msgpack.Unpacker()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()

    def send(self, *frames: bytes) -> None:
        """Write all of it."""
        self.socket.sendall(b"".join(frames))

    def receive(self) -> Any:
        """Return the next message of the server; None when it closed the connection."""
        while True:
            for message in self._unpacker:
                return message
            data = self.socket.recv(65536)
            if not data:
                return None
            self._unpacker.feed(data)

    def shake_hands(self, shared_key: str, *, hostname: str = "client", follows: bytes = b"") -> list[Any]:
        """Answer the server's HELO, with something right behind the answer; return its PONG."""
        _, options = self.receive()
        nonce = options["nonce"].encode() if isinstance(options["nonce"], str) else options["nonce"]
        salt = b"0123456789abcdef"
        digest = hashlib.sha512(salt + hostname.encode() + nonce + shared_key.encode()).hexdigest()
        self.send(msgpack.packb(["PING", hostname, salt, digest, "", ""]) + follows)
        pong: list[Any] = self.receive()
        if pong[1]:
            ours = hashlib.sha512(salt + pong[3].encode() + nonce + shared_key.encode()).hexdigest()
            assert pong[4] == ours, "the server does not know the key either"
        return pong
