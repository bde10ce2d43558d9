"""What is measured: our agent, and the tools that people use instead, where they are installed."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.dags_agent.passes import RESULT

BUCKET = "bench"
PREFIX = "dags/"
_SOURCE = f"s3://{BUCKET}/{PREFIX}"
_ROOT = Path(__file__).parents[2]
_SYNC_WITH_HOOK = """
import sys, time
from pathlib import Path
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
hook = S3Hook(aws_conn_id=None)
began = time.perf_counter()
hook.sync_to_local_dir(
    bucket_name=sys.argv[1], local_dir=Path(sys.argv[3]), s3_prefix=sys.argv[2], delete_stale=True
)
print("RESULT", time.perf_counter() - began)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one sync took.

    Attributes:
        wall_seconds: until readers see the result.
        operations: of the file system until then, where what follows is counted apart.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    operations: Mapping[str, int] | None = None


def counted(text: str) -> dict[str, int]:
    """Read the counts of the slow file system."""
    return {name: int(count) for name, count in (line.split() for line in text.splitlines())}


class Tool(Protocol):
    """One way to bring a prefix to a directory."""

    @property
    def name(self) -> str:
        """As the table shows it."""

    def open(self, target: Path) -> Session:
        """Begin with a directory that is not there yet."""


class Session(Protocol):
    """A tool at work on one directory."""

    def sync(self) -> Cost:
        """Bring the directory in step."""

    def close(self) -> None:
        """Leave it."""


def environment(endpoint: str) -> dict[str, str]:
    """Return what every tool needs to reach the stub, and nothing that leads elsewhere."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(_ROOT),
    }


@dataclass(frozen=True, slots=True)
class Command:
    """A tool that is started for every sync, as cron or a loop would."""

    name: str
    command: Callable[[Path], Sequence[str]]
    environment: Mapping[str, str]

    def open(self, target: Path) -> Session:
        """Begin."""
        target.mkdir(parents=True)
        return _CommandSession(self.command(target), self.environment)


class _CommandSession:
    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment

    def sync(self) -> Cost:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(
            self._command, env=self._environment, check=True, capture_output=True, text=True
        )
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("RESULT")]
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(wall_seconds=float(told[0]) if told else wall, cpu_seconds=cpu, peak_mib=0.0)

    def close(self) -> None:
        """Nothing is left running."""


@dataclass(frozen=True, slots=True)
class OurAgent:
    """The agent as a daemon: one process, a pass when asked.

    Attributes:
        operations: where the slow file system tells its counts; None where it is another.
    """

    name: str
    environment: Mapping[str, str]
    operations: Path | None = None

    def open(self, target: Path) -> Session:
        """Start it."""
        told = {"BENCH_OPERATIONS": str(self.operations)} if self.operations else {}
        return AgentSession({**self.environment, **told, "DAGS_AGENT_TARGET": str(target)})


class AgentSession:
    """One running agent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.dags_agent.passes"],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def sync(self) -> Cost:
        """Ask for a pass."""
        told = self.measure()
        return Cost(
            wall_seconds=told["visible_seconds"],
            cpu_seconds=told["cpu_seconds"],
            peak_mib=told["peak_mib"],
            operations=counted(told["operations_until_visible"]) or None,
        )

    def measure(self) -> dict[str, Any]:
        """Ask for a pass, and return all that it tells."""
        assert self._process.stdin is not None
        self._process.stdin.write("pass\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(RESULT):
                told: dict[str, Any] = json.loads(line.removeprefix(RESULT))
                return told
        raise RuntimeError(f"the agent ended with {self._process.wait(60)}")


def ours(endpoint: str, *, client: str = "native") -> OurAgent:
    """Return our agent, as on an EFS access point: files belong to who writes them."""
    name = "dags-agent" if client == "native" else f"dags-agent ({client})"
    settings = {
        "DAGS_AGENT_SOURCE": _SOURCE,
        "DAGS_AGENT_S3_CLIENT": client,
        "DAGS_AGENT_SETTLE_SECONDS": "0",
        "DAGS_AGENT_OWNER": f"{os.geteuid()}:{os.getegid()}",
    }
    return OurAgent(name, environment(endpoint) | settings)


def peers(endpoint: str, *, directory: Path | None) -> list[Command]:
    """Return the peers that are on the PATH, in ``directory/bin`` or in ``.airflow``."""
    base = environment(endpoint)
    search = os.pathsep.join([str(directory / "bin"), base["PATH"]] if directory else [base["PATH"]])
    found = {name: shutil.which(name, path=search) for name in ("aws", "s5cmd", "rclone")}
    made: list[Command] = []
    if aws := found["aws"]:
        exact = ["--delete", "--exact-timestamps", "--only-show-errors"]
        made.append(
            Command("aws s3 sync", lambda target: [aws, "s3", "sync", _SOURCE, str(target), *exact], base)
        )
    if s5cmd := found["s5cmd"]:
        made.append(
            Command(
                "s5cmd sync",
                lambda target: [
                    *(s5cmd, "--endpoint-url", endpoint, "--log", "error"),
                    *("sync", "--delete", f"{_SOURCE}*", f"{target}/"),
                ],
                base,
            )
        )
    if rclone := found["rclone"]:
        tuned = ["--transfers", "32", "--checkers", "32", "--use-server-modtime", "--fast-list"]
        for name, flags in (("rclone sync, tuned", tuned), ("rclone sync", [])):
            made.append(Command(name, _rclone(rclone, endpoint, flags), base))
    airflow = _ROOT / ".airflow" / "bin" / "python"
    if airflow.exists():
        words = [str(airflow), "-c", _SYNC_WITH_HOOK, BUCKET, PREFIX]
        made.append(Command("Airflow S3DagBundle", lambda target: [*words, str(target)], base))
    return made


def _rclone(program: str, endpoint: str, flags: Sequence[str]) -> Callable[[Path], Sequence[str]]:
    def command(target: Path) -> Sequence[str]:
        return [
            *(program, "sync", f":s3:{BUCKET}/{PREFIX}", str(target), *flags),
            *("--s3-provider", "Minio", "--s3-env-auth", "--s3-endpoint", endpoint),
            *("--s3-region", "eu-west-1", "--s3-force-path-style", "--config", os.devnull),
        ]

    return command
