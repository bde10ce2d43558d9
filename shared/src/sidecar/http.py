"""The HTTP port: ``/metrics``, ``/healthz``, ``/readyz`` and what a service adds.

It answers from its own threads, so that a blocked event loop is reported instead of hanging the probe.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sidecar.errors import ConfigError
from sidecar.health import Health
from sidecar.telemetry import Telemetry

_READ_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a route returns."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Answer]


class HttpServer:
    """A small GET server on its own threads.

    Args:
        host, port: where it listens; port 0 takes a free one.
        telemetry, health: what ``/metrics``, ``/healthz`` and ``/readyz`` show.
        routes: what the service adds, e.g. ``/explain``. Called on an HTTP thread.

    Raises:
        ConfigError: the address cannot be bound.
    """

    def __init__(
        self, *, host: str, port: int, telemetry: Telemetry, health: Health, routes: Mapping[str, Route]
    ) -> None:
        all_routes: dict[str, Route] = {
            **routes,
            "/metrics": lambda: Answer(body=telemetry.prometheus(), content_type="text/plain; version=0.0.4"),
            "/healthz": lambda: _verdict(*health.alive()),
            "/readyz": lambda: _verdict(*health.ready()),
        }
        try:
            self._server = _Server((host, port), _handler(all_routes, telemetry))
        except OSError as err:
            raise ConfigError(
                f"Cannot listen on {host}:{port}",
                why=err.strerror or str(err),
                remedy="Set another HTTP_PORT, or 0 to turn the HTTP port off",
            ) from err
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port in use, also when 0 was asked for."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_READ_TIMEOUT_SECONDS)
        self._server.server_close()


def probe(host: str, port: int, *, timeout_seconds: float = 3.0) -> tuple[bool, str]:
    """Ask a sidecar on this host how it is: for the container health check, without curl.

    Args:
        host: what it is bound to; all addresses means loopback too.
        port: of its HTTP server.
        timeout_seconds: until the answer must be there.
    """
    path = "/healthz"
    address = host if host not in ("", "0.0.0.0", "::") else "127.0.0.1"
    connection = http.client.HTTPConnection(address, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as err:
        return False, f"no answer on port {port}: {err}"
    finally:
        connection.close()
    return response.status == http.client.OK, text


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: a client that hung up is its own affair, and a traceback is no JSON line."""


def _verdict(is_fine: bool, sentence: str) -> Answer:
    return Answer(body=f"{sentence}\n".encode(), status=200 if is_fine else 503)


def _handler(routes: dict[str, Route], telemetry: Telemetry) -> type[BaseHTTPRequestHandler]:
    def known() -> Answer:
        return Answer(body="".join(f"{path}\n" for path in sorted(routes)).encode(), status=404)

    class Handler(BaseHTTPRequestHandler):
        timeout = _READ_TIMEOUT_SECONDS
        server_version = "sidecar"
        sys_version = ""

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0], known)
            try:
                answer = route()
            except Exception as err:  # noqa: BLE001 - a broken page must not cost the probe its connection
                telemetry.page_failed(self.path, err)
                answer = Answer(body=b"the page failed; the log says why\n", status=500)
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
            """Stay silent: a probe a second is not news."""

    return Handler
