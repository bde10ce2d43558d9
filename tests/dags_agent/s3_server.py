"""The benchmark's S3 stub as a process, for tests: told over HTTP what to hold and how to misbehave."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_ANSWER_SECONDS = 30.0


class StubProcess:
    """One stub; plain HTTP, or HTTPS with this certificate."""

    def __init__(self, *, certificate: Path | None = None, key: Path | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.dags_agent.s3_stub"]
        if certificate is not None:
            command += ["--cert", str(certificate), "--key", str(key)]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        """End it: it serves until its standard input closes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_ANSWER_SECONDS)
        self._process.stdout.close()


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
