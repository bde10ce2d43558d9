"""The benchmark's S3 stub as a process, for tests: told over HTTP what to hold and how to misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
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

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set_up(self, **document: Any) -> dict[str, Any]:
        """Change what it holds or does; see the stub's ``_set_up``."""
        return self._control(json.dumps(document).encode())

    def put(self, key: str, content: bytes, **how: Any) -> None:
        """Store an object, as an upload of that kind would."""
        self.set_up(objects={key: {"hex": content.hex(), **how}})

    def delete(self, key: str) -> None:
        request = urllib.request.Request(f"{self.url}/{self.name}/{key}", method="DELETE")
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):
            pass

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
        url = f"{self.url}/_control/{self.name}"
        with urllib.request.urlopen(url, data=body, timeout=_ANSWER_SECONDS) as answer:
            told: dict[str, Any] = json.load(answer)
        return told
