"""A directory of logs, a stream, and a forwarder between them, as one value for a test."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until

from .fakes import FakeFirehose

STREAM = "logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One test's logs, stream and forwarder."""

    logs: Path
    state: Path
    firehose: FakeFirehose
    run: Callable[..., Finished]
    start_process: Callable[..., SidecarProcess]

    def settings(self, **changes: str) -> dict[str, str]:
        """Return the forwarder's environment; ``changes`` are named without the prefix."""
        own = {
            "STREAM": STREAM,
            "TAIL": json.dumps([f"{self.logs}/**"]),
            "STATE_DIR": str(self.state),
            "HTTP_PORT": "0",
            "FLUSH_SECONDS": "0.1",
            "SCAN_SECONDS": "0.1",
            "LOG_LEVEL": "debug",
            **changes,
        }
        ours = {f"LOG_FORWARDER_{name}": value for name, value in own.items() if value}
        return {"AWS_ENDPOINT_URL_FIREHOSE": self.firehose.url, **ours}

    def once(self, **changes: str) -> Finished:
        """Ship what is there."""
        return self.run("log_forwarder", "once", settings=self.settings(**changes))

    def start(self, **changes: str) -> SidecarProcess:
        """Start to ship."""
        return self.start_process("log_forwarder", "run", settings=self.settings(**changes))

    def log(self, name: str, numbers: range, *, padding: int = 0) -> Path:
        """Append numbered lines to a file."""
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(b'{"n":%d,"pad":"%b"}\n' % (n, b"x" * padding) for n in numbers))
        return path

    def envelopes(self) -> list[dict[str, Any]]:
        """Return the objects that were accepted, in order."""
        return [json.loads(line) for line in self.firehose.lines]

    def numbers(self, source: Path | None = None) -> list[int]:
        """Return the numbers of :meth:`log` that were accepted, in order."""
        return [
            envelope["n"]
            for envelope in self.envelopes()
            if "n" in envelope and (source is None or envelope["_fwd"]["source"] == str(source))
        ]

    def has_all(self, numbers: range) -> None:
        """Wait until each number was accepted at least once."""
        wait_until(lambda: set(numbers) <= set(self.numbers()), f"all of {numbers}", deadline_seconds=20)

    def repeated(self) -> list[int]:
        """Return the numbers that were accepted more than once."""
        return [number for number, count in Counter(self.numbers()).items() if count > 1]
