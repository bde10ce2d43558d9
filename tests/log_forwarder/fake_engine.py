"""A Docker engine that a test owns: the part of its HTTP API that we use, on a unix socket.

Faithful in what matters here, as Docker 20.10 and 27 behave: the eight-byte header unless the container
has a terminal, a time before each message, lines cut at 16 KiB into messages without a newline, ``since``
inclusive with nanoseconds, ``follow`` until the container ends, 404 for a removed one, label filters.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

_PART_BYTES = 16_384
_SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class Container:
    """A container: what it is, and its messages as (stream, time in nanoseconds, bytes)."""

    id: str
    name: str
    labels: dict[str, str]
    has_terminal: bool = False
    is_running: bool = True
    messages: list[tuple[int, int, bytes]] = field(default_factory=list)


class FakeEngine:
    """Containers, and who watches them."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.containers: dict[str, Container] = {}
        self.changed = threading.Condition()
        self.starts: list[str] = []
        self.log_requests: list[dict[str, str]] = []
        self.cut_after_messages: int | None = None
        self._time_ns = 1_700_000_000 * _SECOND_NS

    def run(
        self, name: str, *, labels: dict[str, str] | None = None, has_terminal: bool = False
    ) -> Container:
        """Start a container."""
        container = Container(
            id=f"{len(self.containers):064x}", name=name, labels=labels or {}, has_terminal=has_terminal
        )
        with self.changed:
            self.containers[container.id] = container
            self.starts.append(container.id)
            self.changed.notify_all()
        return container

    def write(self, container: Container, text: bytes, *, stream: int = 1, advance_ns: int = 1000) -> None:
        """Let a container write lines; ``advance_ns`` 0 gives them the time of the message before."""
        with self.changed:
            for line in text.splitlines(keepends=True):
                for at in range(0, len(line), _PART_BYTES):
                    self._time_ns += advance_ns
                    container.messages.append((stream, self._time_ns, line[at : at + _PART_BYTES]))
            self.changed.notify_all()

    def stop(self, container: Container, *, removes: bool = False) -> None:
        """Let a container end."""
        with self.changed:
            container.is_running = False
            if removes:
                del self.containers[container.id]
            self.changed.notify_all()


def encode(container: Container, stream: int, time_ns: int, text: bytes) -> bytes:
    """Return a message as the engine sends it."""
    seconds, nanoseconds = divmod(time_ns, _SECOND_NS)
    time = f"2023-11-{14 + (seconds - 1_700_000_000 + 80_000) // 86_400:02d}T"
    rest = (seconds - 1_700_000_000 + 80_000) % 86_400
    time += f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}.{nanoseconds:09d}Z "
    if container.has_terminal:
        return time.encode() + text.replace(b"\n", b"\r\n")
    body = time.encode() + text
    return struct.pack(">BxxxI", stream, len(body)) + body


@contextmanager
def serve(directory: Path) -> Iterator[FakeEngine]:
    """Serve an engine on a socket in ``directory``."""
    path = directory / "docker.sock"
    engine = FakeEngine(path)

    class Handler(_Handler):
        fake = engine

    server = _Server(str(path), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        server.is_over = True
        with engine.changed:
            engine.changed.notify_all()
        server.shutdown()
        thread.join(10)
        server.server_close()
        path.unlink()


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    is_over = False

    def get_request(self) -> tuple[Any, Any]:
        request, _ = super().get_request()
        return request, ("engine", 0)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    fake: ClassVar[FakeEngine]
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        words = [word for word in url.path.split("/") if word and not word.startswith("v1.")]
        if words == ["version"]:
            self._answer({"ApiVersion": "1.43", "MinAPIVersion": "1.24", "Version": "24.0"})
        elif words == ["containers", "json"]:
            self._answer([{"Id": one.id} for one in self.fake.containers.values() if _is_wanted(one, query)])
        elif words == ["events"]:
            self._events(query)
        elif words[1] not in self.fake.containers:
            self._answer({"message": f"No such container: {words[1]}"}, status=404)
        elif words[2] == "json":
            self._inspect(self.fake.containers[words[1]])
        else:
            self._logs(self.fake.containers[words[1]], query)

    def _inspect(self, container: Container) -> None:
        config = {"Tty": container.has_terminal, "Image": "airflow:3", "Labels": container.labels}
        self._answer({"Id": container.id, "Name": f"/{container.name}", "Config": config})

    def _events(self, query: dict[str, str]) -> None:
        engine = self.fake
        with engine.changed:
            told = len(engine.starts)
        self._begin("application/json")
        while not self.server.is_over:
            with engine.changed:
                if len(engine.starts) == told and not self.server.is_over:
                    engine.changed.wait(5)
                news = engine.starts[told:]
                told = len(engine.starts)
            for container in news:
                if container in engine.containers and _is_wanted(engine.containers[container], query):
                    self._chunk(
                        json.dumps({"Type": "container", "Actor": {"ID": container}}).encode() + b"\n"
                    )
        self._chunk(b"")

    def _logs(self, container: Container, query: dict[str, str]) -> None:
        engine = self.fake
        engine.log_requests.append(query)
        seconds, _, nanoseconds = query["since"].partition(".")
        since_ns = int(seconds) * _SECOND_NS + int(nanoseconds or 0)
        self._begin("application/vnd.docker.raw-stream")
        sent = 0
        written = 0
        while not self.server.is_over:
            with engine.changed:
                if len(container.messages) == sent and self._follows(container, query):
                    engine.changed.wait(5)
                news = container.messages[sent:]
                sent = len(container.messages)
            for stream, time_ns, text in news:
                if time_ns < since_ns:
                    continue
                data = encode(container, stream, time_ns, text)
                written += 1
                if engine.cut_after_messages is not None and written > engine.cut_after_messages:
                    engine.cut_after_messages = None
                    self.wfile.write(b"%x\r\n" % len(data) + data[: len(data) // 2])
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                self._chunk(data)
            if not news and not self._follows(container, query):
                break
        self._chunk(b"")

    def _follows(self, container: Container, query: dict[str, str]) -> bool:
        return query["follow"] == "1" and container.is_running and not self.server.is_over

    def _answer(self, document: Any, *, status: int = 200) -> None:
        payload = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _begin(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
        """Stay silent."""


def _is_wanted(container: Container, query: dict[str, str]) -> bool:
    wanted = json.loads(query.get("filters", "{}")).get("label", [])
    return all(
        container.labels.get(name) == value if "=" in label else name in container.labels
        for label in wanted
        for name, _, value in [label.partition("=")]
    )
