"""A worker's agent over HTTP, as docs/adr/0004 says, answering with the example that both sides agreed on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "contracts" / "examples"


def example(name: str) -> dict[str, Any]:
    """Return one of the documents that the tests of both sides read."""
    document: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return document


class AgentServer:
    """One agent.

    Attributes:
        state: its answer.
        token: what it asks for; None is nothing.
        requests: method, path and body of what it was asked.
        held_back: while clear, it answers nothing.
    """

    def __init__(self) -> None:
        self.state = example("worker_agent_state")
        self.token: str | None = None
        self.requests: list[tuple[str, str, Any]] = []
        self.held_back = threading.Event()
        self.held_back.set()
        self.port = 0

    def answer(self, method: str, path: str, body: Any, authorization: str | None) -> tuple[int, Any]:
        """Answer one request."""
        self.requests.append((method, path, body))
        self.held_back.wait(30)
        if self.token is not None and authorization != f"Bearer {self.token}":
            return 401, {}
        if (method, path) == ("PUT", "/v1/order"):
            if body.keys() != example("worker_agent_order").keys():
                return 400, {}
            self.state |= {"order": body["order"], "order_holder": body["holder"]}
            self.state["phase"] = "working" if body["order"] == "work" else "cordoned"
        elif (method, path) != ("GET", "/v1/worker"):
            return 404, {}
        return 200, self.state


@contextmanager
def agent_server() -> Iterator[AgentServer]:
    """Serve one agent on a loopback port of its own."""
    agent = AgentServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_PUT(self) -> None:
            self._answer("PUT")

        def _answer(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, document = agent.answer(method, self.path, body, self.headers.get("Authorization"))
            data = json.dumps(document).encode() if isinstance(document, dict) else document
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Stay silent: a client that gave up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    agent.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        agent.held_back.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
