"""A Firehose for benchmarks: a process of its own, over TLS, that fails on order and keeps what it accepted.

    python fake_firehose.py DIRECTORY        # prints the port; DIRECTORY/mode is read before every call

Modes (the text of ``DIRECTORY/mode``): ``ok``, ``500``, ``503``, ``partial N`` (every N-th record fails),
``timeout`` (accepts, then never answers), ``drop`` (closes the connection), ``slow SECONDS``.
Accepted records are appended to ``DIRECTORY/accepted``: 4 bytes of length, then the record; one line per call
goes to ``DIRECTORY/calls``: records, bytes of records, bytes of the body, the mode.
"""

from __future__ import annotations

import base64
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading
from pathlib import Path

HANG_SECONDS = 120.0
ENOUGH = {"DeliveryStreamDescription": {"DeliveryStreamName": "logs", "DeliveryStreamStatus": "ACTIVE"}}


class Store:
    """What the stream accepted, on disk, so that the server stays small and fast."""

    def __init__(self, directory: Path) -> None:
        self.mode_file = directory / "mode"
        self._accepted = (directory / "accepted").open("ab", buffering=0)
        self._calls = (directory / "calls").open("ab", buffering=0)
        self._lock = threading.Lock()
        self._records_seen = 0

    def mode(self) -> list[str]:
        """Return how to behave now."""
        try:
            return self.mode_file.read_text().split() or ["ok"]
        except FileNotFoundError:
            return ["ok"]

    def failing(self, count: int, every: int) -> set[int]:
        """Return which of the next ``count`` records fail."""
        with self._lock:
            first = self._records_seen
            self._records_seen += count
        return {index for index in range(count) if (first + index + 1) % every == 0}

    def accept(self, records: list[bytes]) -> None:
        """Keep records."""
        framed = b"".join(struct.pack("<I", len(record)) + record for record in records)
        with self._lock:
            self._accepted.write(framed)

    def called(self, records: list[bytes], body_bytes: int, mode: str) -> None:
        """Take note of a call."""
        line = f"{len(records)} {sum(map(len, records))} {body_bytes} {mode}\n"
        self._calls.write(line.encode())


class Handler(socketserver.StreamRequestHandler):
    """One connection, kept alive."""

    store: Store
    rbufsize = 1024 * 1024

    def handle(self) -> None:
        """Answer until the other side hangs up."""
        try:
            while self._one_call():
                pass
        except (OSError, ValueError):
            return  # the forwarder was killed, or hung up

    def _one_call(self) -> bool:
        if not self.rfile.readline():
            return False
        headers = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = int(headers.get(b"content-length", b"0"))
        body = self.rfile.read(size)
        if len(body) < size:
            return False
        if not headers.get(b"x-amz-target", b"").endswith(b".PutRecordBatch"):
            self._answer(200, ENOUGH)
            return True
        records = [base64.b64decode(record["Data"]) for record in json.loads(body)["Records"]]
        return self._put(records, size)

    def _put(self, records: list[bytes], body_bytes: int) -> bool:
        kind, *rest = self.store.mode()
        self.store.called(records, body_bytes, kind)
        if kind in ("500", "503"):
            code = "InternalFailure" if kind == "500" else "ServiceUnavailableException"
            self._answer(int(kind), {"__type": code, "message": "Slow down."})
            return True
        if kind == "drop":
            return False
        if kind == "slow":
            threading.Event().wait(float(rest[0]))
        failing = self.store.failing(len(records), int(rest[0])) if kind == "partial" else set()
        self.store.accept([record for index, record in enumerate(records) if index not in failing])
        if kind == "timeout":
            threading.Event().wait(HANG_SECONDS)
            return False
        failed = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        answers = [failed if index in failing else {"RecordId": "0" * 56} for index in range(len(records))]
        self._answer(200, {"FailedPutCount": len(failing), "RequestResponses": answers})
        return True

    def _answer(self, status: int, document: object) -> None:
        payload = json.dumps(document).encode()
        self.wfile.write(
            b"HTTP/1.1 %d x\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(payload), payload)
        )


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection; TLS when there is a certificate."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: object, client_address: object) -> None:
        """Shake hands in the connection's own thread."""
        assert isinstance(request, socket.socket)
        try:
            connection = self.tls.wrap_socket(request, server_side=True) if self.tls else request
        except OSError:
            return
        Handler(connection, client_address, self)
        connection.close()


def main() -> None:
    """Serve until killed; the port is the first line of standard output."""
    directory = Path(sys.argv[1])
    Handler.store = Store(directory)
    certificate = directory / "certificate.pem"
    if certificate.exists():
        Server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        Server.tls.load_cert_chain(certificate)
    server = Server(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
