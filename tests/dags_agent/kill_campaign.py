"""Kill the agent with -9 at random instants, again and again, and look at what readers have after each.

``python -m tests.dags_agent.kill_campaign --kills 1000 [--publish in_place] [--seed 1]`` from the root of the
repository; the suite runs a short one. Prints one JSON line.

The agent is started, S3 changes all the time, and after a random time it is killed. Then, without any help:
``current`` is one whole release of one version (in place: every file is whole); at the end one more pass
converges to what S3 has and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from .fakes import BUCKET, PREFIX, SlowS3, tree

FILES = 40
# Has imported all, and forks an agent for each line of settings: a start costs milliseconds, not a second.
_NURSERY = """
import json, os, sys, warnings
import aiobotocore.session, botocore.session
from dags_agent.__main__ import main
import dags_agent.program
for line in sys.stdin:
    environment, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["dags-agent", *arguments]
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main())
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Campaign:
    """One target, one changing source, and a count of what was seen."""

    target: Path
    publish: str
    rng: random.Random
    s3: SlowS3 = field(init=False)
    nursery: subprocess.Popen[str] = field(init=False)
    version: int = 0
    kills: int = 0
    releases_seen: set[str] = field(default_factory=set)
    killed_while_building: int = 0

    def __post_init__(self) -> None:
        self.s3 = SlowS3({}, page_size=1000)
        self.nursery = subprocess.Popen(
            [sys.executable, "-c", _NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.change()
        self.begin("once")
        assert self.end() == 0

    def change(self) -> None:
        """Another version of every file; some come and go."""
        self.version += 1
        names = [f"{number % 5}/{number}.py" for number in range(FILES)]
        names += [f"extra/{self.version % 7}.py"]
        body = b"VERSION = 1%08d\n" % self.version
        self.s3.objects = {f"{PREFIX}{name}": body for name in names}

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": self.s3.url,
            "DAGS_AGENT_SOURCE": f"s3://{BUCKET}/{PREFIX}",
            "DAGS_AGENT_TARGET": str(self.target),
            "DAGS_AGENT_PUBLISH": self.publish,
            "DAGS_AGENT_HTTP_PORT": "0",
            "DAGS_AGENT_INTERVAL_SECONDS": "0.01",
            "DAGS_AGENT_KEEP_HOURS": "0",
            "DAGS_AGENT_VALIDATE": "compile" if self.rng.random() < 0.2 else "off",
            "DAGS_AGENT_MAX_DELETE_FRACTION": "1",
            "DAGS_AGENT_MAX_CONCURRENCY": "4",
        }

    def begin(self, *arguments: str) -> int:
        """Start an agent; return its process id."""
        self._write(json.dumps([self.environment(), arguments]))
        return int(self._read())

    def end(self) -> int:
        """Wait for the agent's end; return its exit code."""
        return int(self._read())

    def _write(self, line: str) -> None:
        assert self.nursery.stdin is not None
        self.nursery.stdin.write(line + "\n")
        self.nursery.stdin.flush()

    def _read(self) -> str:
        assert self.nursery.stdout is not None
        return self.nursery.stdout.readline()

    def round(self) -> None:
        """Start, change S3 meanwhile, kill at a random instant, look."""
        agent = self.begin()
        never = threading.Event()
        scale_seconds = self.rng.choice((0.2, 0.6, 1.2))
        for _ in range(self.rng.randint(0, 2)):
            never.wait(self.rng.uniform(0.0, scale_seconds))
            self.change()
        never.wait(self.rng.uniform(0.0, scale_seconds))
        os.kill(agent, signal.SIGKILL)
        assert self.end() == -signal.SIGKILL
        self.kills += 1
        with contextlib.suppress(FileNotFoundError):
            self.killed_while_building += any((self.target / ".dags-agent/building").iterdir())
        self.look()

    def look(self) -> None:
        """Assert what readers may rely on at any instant."""
        if self.publish == "in_place":
            for path in self.target.rglob("[0-9]*.py"):
                if ".dags-agent" not in path.parts:
                    assert path.read_bytes().startswith(b"VERSION = "), path
                    assert len(path.read_bytes()) == len(b"VERSION = 1%08d\n" % 0), path
            return
        current = self.target / "current"
        if current.is_symlink():
            self.releases_seen.add(current.readlink().name)
            files = tree(current)
            assert len(files) == FILES + 1, sorted(files)
            assert len(set(files.values())) == 1, files

    def converge(self) -> None:
        """One more pass brings all in order and leaves nothing behind."""
        self.begin("once")
        assert self.end() == 0
        wanted = {key.removeprefix(PREFIX): body for key, body in self.s3.objects.items()}
        own = self.target / ".dags-agent"
        assert not [*own.glob("building/*"), *own.glob("trash/*"), *own.glob("link-*"), *own.glob(".tmp-*")]
        if self.publish == "in_place":
            found = tree(self.target)
            readers = {path: text for path, text in found.items() if not path.startswith(".dags-agent")}
            assert readers == wanted, sorted(readers.items() ^ wanted.items())
        else:
            assert tree(self.target / "current") == wanted
            assert len(list((self.target / "releases").glob("*/"))) <= 3


def run(target: Path, *, kills: int, seed: int, publish: str = "release") -> Campaign:
    """Do a campaign; AssertionError when a promise broke."""
    campaign = Campaign(target=target, publish=publish, rng=random.Random(seed))  # noqa: S311 - moments
    try:
        for _ in range(kills):
            campaign.round()
        campaign.converge()
    finally:
        campaign.nursery.communicate()
        campaign.s3.close()
    return campaign


def main() -> None:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--publish", choices=["release", "in_place"], default="release")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        campaign = run(
            Path(directory) / "efs", kills=arguments.kills, seed=arguments.seed, publish=arguments.publish
        )
    report = {
        "publish": campaign.publish,
        "kills": campaign.kills,
        "seed": arguments.seed,
        "killed_while_building": campaign.killed_while_building,
        "releases_seen": len(campaign.releases_seen),
        "versions": campaign.version,
        "broken_promises": 0,
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
