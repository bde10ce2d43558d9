"""The protocol of docs/adr/0004 over HTTP: its own threads ask, the worker's event loop answers."""

from __future__ import annotations

import hmac
import json
import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from airflow_ecs.worker_agent import orders

MAX_BODY_BYTES = 65_536
_CONNECTION_SECONDS = 5.0

_log = logging.getLogger(__name__)


class BusyError(Exception):
    """The event loop did not answer in time. Asking again may help; it is no proof of anything."""


class Worker(Protocol):
    """What is asked over HTTP. Each call may wait for the event loop, and then raise :class:`BusyError`."""

    def state_document(self) -> dict[str, object]:
        """Return the state."""

    def take_order(self, request: orders.OrderRequest) -> dict[str, object]:
        """Put an order into force, and return the state after that."""

    def metrics_text(self) -> str:
        """Return the metrics."""


class Server(ThreadingHTTPServer):
    """Listens at once; answers after :meth:`start`.

    Raises:
        OSError: the address cannot be listened on.
    """

    daemon_threads = True

    def __init__(self, worker: Worker, *, host: str, port: int, token: str) -> None:
        self.worker = worker
        self.token = token
        super().__init__((host, port), _Handler)

    def start(self) -> None:
        """Serve until the process ends."""
        threading.Thread(target=self.serve_forever, name="airflow-ecs-http", daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the base class's
        """Say that a client broke off, in one line."""
        _log.debug("A request of %s to the worker agent broke off.", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _CONNECTION_SECONDS
    server: Server

    def do_GET(self) -> None:
        if not self._is_allowed():
            return
        if self.path == "/v1/worker":
            self._answer(self.server.worker.state_document)
        elif self.path == "/metrics":
            self._answer(self.server.worker.metrics_text)
        else:
            self._send(
                HTTPStatus.NOT_FOUND, {"error": "there are GET /v1/worker, PUT /v1/order, GET /metrics"}
            )

    def do_PUT(self) -> None:
        body = self._body()
        if body is None or not self._is_allowed():
            return
        if self.path != "/v1/order":
            self._send(HTTPStatus.NOT_FOUND, {"error": "orders are PUT to /v1/order"})
            return
        try:
            request = orders.parse(body)
        except orders.BadOrderError as err:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(err)})
            return
        self._answer(lambda: self.server.worker.take_order(request))

    def _body(self) -> bytes | None:
        """Read the body, also of a request that will be refused: the connection stays in step."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(HTTPStatus.BAD_REQUEST, {"error": f"Content-Length is at most {MAX_BODY_BYTES}"})
            return None
        return self.rfile.read(int(length))

    def _is_allowed(self) -> bool:
        given = self.headers.get("Authorization", "").encode()
        if not self.server.token or hmac.compare_digest(given, f"Bearer {self.server.token}".encode()):
            return True
        self._send(HTTPStatus.UNAUTHORIZED, {"error": "Authorization: Bearer <token> is missing or wrong"})
        return False

    def _answer(self, ask: Callable[[], dict[str, object] | str]) -> None:
        try:
            self._send(HTTPStatus.OK, ask())
        except BusyError as err:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(err)})

    def _send(self, status: HTTPStatus, content: dict[str, object] | str) -> None:
        is_text = isinstance(content, str)
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4" if is_text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        pass
