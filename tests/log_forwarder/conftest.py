"""A stream to send to, a directory of logs, and a forwarder between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.testing.plugin import Finished, SidecarProcess

from .fakes import FakeFirehose, serve
from .tailing import Tail
from .world import STREAM, World


@pytest.fixture
def firehose() -> Iterator[FakeFirehose]:
    """A stream that obeys the test."""
    with serve(STREAM) as fake:
        yield fake


@pytest.fixture
def world(
    tmp_path: Path,
    firehose: FakeFirehose,
    run_sidecar: Callable[..., Finished],
    start_sidecar: Callable[..., SidecarProcess],
) -> World:
    """An empty directory of logs and a stream that accepts."""
    logs = tmp_path / "logs"
    logs.mkdir()
    return World(
        logs=logs, state=tmp_path / "state", firehose=firehose, run=run_sidecar, start_process=start_sidecar
    )


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Tail]:
    """Eyes on an empty directory of logs."""
    (tmp_path / "logs").mkdir()
    tail = Tail(tmp_path)
    yield tail
    tail.stop()


@pytest.fixture
def log(tail: Tail) -> Path:
    """A file in it that is not there yet."""
    return tail.root / "logs" / "a.log"
