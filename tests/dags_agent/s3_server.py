"""A bucket of the benchmarks' S3 stub, for tests: told over HTTP what to hold and how to misbehave."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

_ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class StubBucket:
    """One bucket of a stub."""

    port: int
    name: str
    certificate: Path | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def set_up(self, **document: Any) -> dict[str, Any]:
        """Change what it holds or does; see the stub's ``_set_up``."""
        return self._control(json.dumps(document).encode())

    def put(self, key: str, content: bytes, **how: Any) -> None:
        """Store an object, as an upload of that kind would."""
        self.set_up(objects={key: {"hex": content.hex(), **how}})

    def delete(self, key: str) -> None:
        self._ask("DELETE", f"/{self.name}/{key}")

    def fail(self, *faults: Mapping[str, Any]) -> None:
        """Play these faults from now on."""
        self.set_up(faults=list(faults))

    def counts(self) -> dict[str, int]:
        """What was asked of it, by operation, and ``operation:status`` of errors."""
        counted: dict[str, int] = self._control(None)["counts"]
        return counted

    def connections(self) -> int:
        """How many connections the whole stub has seen; asking is one."""
        seen: int = self._control(None)["connections"]
        return seen

    def headers(self) -> list[dict[str, str]]:
        """The requests' headers, once ``is_recorded`` is set."""
        seen: list[dict[str, str]] = self._control(None)["headers"]
        return seen

    def _control(self, body: bytes | None) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(
            self._ask("GET" if body is None else "POST", f"/_control/{self.name}", body)
        )
        return told

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        if self.certificate:
            trust = ssl.create_default_context(cafile=self.certificate)
            connection: HTTPConnection = HTTPSConnection("127.0.0.1", self.port, context=trust)
        else:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        connection.request(method, path, body)
        answer = connection.getresponse().read()
        connection.close()
        return answer
