"""The stub as a process of its own, for whoever starts it from Python."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[3]
_ANSWER_SECONDS = 120.0


class StubProcess:
    """One stub; plain HTTP, or HTTPS with this certificate. To be closed."""

    def __init__(self, *, certificate: Path | None = None, key: Path | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.dags_agent.s3_stub"]
        if certificate is not None:
            command += ["--cert", str(certificate), "--key", str(key)]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def url(self) -> str:
        """Where it answers, without TLS."""
        return f"http://127.0.0.1:{self.port}"

    def set_up(self, bucket: str, **document: Any) -> Mapping[str, Any]:
        """Change what a bucket holds or does; return what the stub tells of it."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        connection.request("POST", f"/_control/{bucket}", json.dumps(document))
        told: Mapping[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return told

    def close(self) -> None:
        """End it: it serves until its standard input closes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_ANSWER_SECONDS)
        self._process.stdout.close()
