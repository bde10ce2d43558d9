"""Pytest fixtures for all sidecars, loaded by the ``pytest11`` entry point."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from sidecar.testing.golden import Golden, assert_golden

_START_SECONDS = 30.0
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden``."""
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with a file that is kept in the repository (see :mod:`sidecar.testing.golden`)."""
    return partial(assert_golden, update=request.config.getoption("--update-golden"))


def pytest_sessionstart() -> None:
    """Say that there is no event loop yet.

    Otherwise pytest-asyncio asks Python 3.11 for the current one, which makes one that nobody closes:
    a ResourceWarning, and here warnings are errors.
    """
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """URL of a moto server for this session. Its state is shared: name things at random."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - a second to import, and few tests need it

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point every AWS SDK in this process at the moto server; yields its URL."""
    for name, value in {**_CREDENTIALS, "AWS_ENDPOINT_URL": aws_endpoint}.items():
        monkeypatch.setenv(name, value)
    return aws_endpoint


@dataclass(frozen=True, slots=True)
class Finished:
    """How a sidecar's process ended."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class SidecarProcess:
    """A sidecar as a real process, its output in a file."""

    process: subprocess.Popen[bytes]
    out: Path

    def kill_dash_nine(self) -> None:
        """End it as the kernel's OOM killer would."""
        self.process.kill()
        self.process.wait(_START_SECONDS)

    def terminate(self, *, deadline_seconds: float = _START_SECONDS) -> int:
        """End it as ECS would; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline_seconds)

    def text(self) -> str:
        """Return what it wrote so far."""
        return self.out.read_text(errors="replace")


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Give a child the SDK's variables and its own settings, and nothing else of this process."""
    own = os.environ  # noqa: TID251 - the test process's
    passed = {name: own[name] for name in own if name in ("PATH", "HOME") or name.startswith("AWS_")}
    return {**_CREDENTIALS, **passed, **settings}


@pytest.fixture
def run_sidecar() -> Callable[..., Finished]:
    """Run ``python -m <module> <arguments>`` to its end with exactly these settings."""

    def run(
        module: str, *arguments: str, settings: Mapping[str, str], deadline_seconds: float = 60.0
    ) -> Finished:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", module, *arguments],
            env=_environment(settings),
            capture_output=True,
            text=True,
            timeout=deadline_seconds,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def start_sidecar(tmp_path: Path) -> Iterator[Callable[..., SidecarProcess]]:
    """Start ``python -m <module> <arguments>``; what still runs after the test is killed."""
    started: list[SidecarProcess] = []

    def start(module: str, *arguments: str, settings: Mapping[str, str]) -> SidecarProcess:
        out = tmp_path / f"{module}-{len(started)}.out"
        with out.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", module, *arguments],
                env=_environment(settings),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        sidecar = SidecarProcess(process, out)
        started.append(sidecar)
        return sidecar

    yield start
    for sidecar in started:
        if sidecar.process.poll() is None:
            sidecar.kill_dash_nine()
