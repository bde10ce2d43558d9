"""The part of Airflow's REST API v2 that the scaler asks, in memory; held to the real one by one suite."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE_ROWS = 100


@dataclass
class FakeAirflowApi:
    """What the API holds, and how it misbehaves.

    Attributes:
        lifetime_seconds: of a token.
        before_each: called with each path before it is answered; may change the rows.
        failing: status to answer instead.
    """

    url: str = ""
    username: str = "viewer"
    password: str = "right-password"
    rows: list[dict[str, Any]] = field(default_factory=list)
    lifetime_seconds: int = 86400
    tokens: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    before_each: Callable[[str], None] = lambda _path: None
    failing: int | None = None
    body: bytes | None = None

    def task(self, state: str, **values: Any) -> dict[str, Any]:
        row = {
            "id": str(uuid.UUID(int=len(self.rows) + 1)),
            "state": state,
            "queue": "heavy",
            "hostname": "",
            "executor": None,
            "dag_id": "d",
            "task_id": "t",
            "start_date": None,
            "queued_when": None,
            **values,
        }
        self.rows.append(row)
        return row

    def token(self) -> str:
        claims = {"iat": 1000, "exp": 1000 + self.lifetime_seconds, "nr": len(self.tokens)}
        token = f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"
        self.tokens.append(token)
        return token

    def answer(self, method: str, target: str, body: bytes, bearer: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        self.requests.append(parts.path)
        self.before_each(parts.path)
        if self.failing is not None:
            return self.failing, b"{}"
        if (method, parts.path) == ("POST", "/auth/token"):
            login = json.loads(body)
            if login != {"username": self.username, "password": self.password}:
                return 401, b"{}"
            return 201, json.dumps({"access_token": self.token()}).encode()
        if not self.tokens or bearer != f"Bearer {self.tokens[-1]}":
            return 401, b"{}"
        if parts.path != "/api/v2/dags/~/dagRuns/~/taskInstances":
            return 404, b"{}"
        return 200, self.body or json.dumps(self._page(parse_qs(parts.query))).encode()

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        found = [
            row
            for row in self.rows
            if all(row[name] in query.get(name, [row[name]]) for name in ("state", "queue", "executor"))
        ]
        found.sort(key=lambda row: row["id"])
        offset = int(query.get("offset", ["0"])[0])
        limit = min(int(query.get("limit", ["50"])[0]), PAGE_ROWS)
        return {"task_instances": found[offset : offset + limit], "total_entries": len(found)}


@contextmanager
def served(api: FakeAirflowApi) -> Iterator[FakeAirflowApi]:
    """Serve it on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._do("GET")

        def do_POST(self) -> None:
            self._do("POST")

        def _do(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, text = api.answer(method, self.path, body, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
