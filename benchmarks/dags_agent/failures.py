"""The peers' own failures, side by side with the agent: what readers have after each accident.

``python -m benchmarks.dags_agent.failures [--peers DIR]`` from the root of the repository. ``aws``, ``s5cmd``
and ``rclone`` are taken from the PATH or from ``DIR/bin``; one that is not there is left out. Prints a table.

Every accident begins with a tree that was synced well; then S3 (a stub) or the directory changes, and the
tool runs again with the flags that people use (``--delete`` and its relatives).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dags_agent.s3_stub.process import StubProcess
from benchmarks.dags_agent.tools import BUCKET, PREFIX, environment, peers

_RUN_SECONDS = 60.0
# Four pages of the stub, so that a page in the middle can fail.
_FILES = {f"{number:04d}.py": b"V = 1\n" for number in range(40)}
_PAGE_KEYS = 10


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: runs once on a directory; ``root`` is what readers then read.

    Attributes:
        elsewhere: runs the same against another endpoint.
    """

    name: str
    run: Callable[[Path], int]
    root: Callable[[Path], Path]
    elsewhere: Callable[[str, Path], int]


class Bucket:
    """The stub's bucket, refilled for each accident."""

    def __init__(self, stub: StubProcess) -> None:
        self._stub = stub
        self._held: set[str] = set()

    def put(self, files: dict[str, bytes]) -> None:
        """Store files, all of one second long ago."""
        keys = {f"{PREFIX}{path}": {"hex": body.hex()} for path, body in files.items()}
        self._held |= keys.keys()
        self._stub.set_up(BUCKET, objects=keys, page_keys=_PAGE_KEYS)

    def fail_listing_after(self, pages: int) -> None:
        """Let every page of the listing after the first ones answer 500, however often it is asked for."""
        fault = {"do": "status", "operation": "list", "skip": pages, "status": 500, "times": -1}
        self._stub.set_up(BUCKET, faults=[fault | {"code": "InternalError"}])


def main() -> None:
    """Run every accident with every tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="directory with bin/ of the peers")
    parser.add_argument("--only", choices=[accident.__name__ for accident in ACCIDENTS])
    arguments = parser.parse_args()
    accidents = [a for a in ACCIDENTS if arguments.only in (None, a.__name__)]
    rows = {accident.__name__: dict[str, str]() for accident in accidents}
    names: list[str] = []
    for accident in accidents:
        names = _try_all(accident, arguments.peers, rows[accident.__name__])
    sys.stdout.write(f"| accident | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}\n")
    for accident in accidents:
        cells = " | ".join(rows[accident.__name__].get(name, "") for name in names)
        sys.stdout.write(f"| {(accident.__doc__ or '').rstrip('.')} | {cells} |\n")


def _try_all(accident: Accident, directory: Path | None, row: dict[str, str]) -> list[str]:
    names = []
    for number in range(len(_tools("", directory))):
        stub = StubProcess()  # a fresh one for each: no tool inherits another's accident
        with tempfile.TemporaryDirectory() as work:
            tool = _tools(stub.url, directory)[number]
            names.append(tool.name)
            bucket = Bucket(stub)
            bucket.put(_FILES)
            target = Path(work) / "in" / "target"
            target.mkdir(parents=True)
            if tool.run(target) != 0:
                row[tool.name] = "first sync failed"
            else:
                row[tool.name] = accident(tool, bucket, target)
        stub.close()
    return names


def _tools(endpoint: str, directory: Path | None) -> list[Tool]:
    settings = environment(endpoint) | {
        "DAGS_AGENT_SOURCE": f"s3://{BUCKET}/{PREFIX}",
        "DAGS_AGENT_OWNER": f"{os.geteuid()}:{os.getegid()}",
        "DAGS_AGENT_SETTLE_SECONDS": "0",
    }

    def ours(target: Path) -> int:
        own = settings | {"DAGS_AGENT_TARGET": str(target)}
        return _exit_code([sys.executable, "-m", "dags_agent", "once"], own)

    def elsewhere(name: str) -> Callable[[str, Path], int]:
        def run(url: str, target: Path) -> int:
            (same,) = [tool for tool in _tools(url, directory) if tool.name == name]
            return same.run(target)

        return run

    tools = [Tool("dags-agent", ours, lambda target: target / "current", elsewhere("dags-agent"))]
    for peer in peers(endpoint, directory=directory):
        if peer.name in ("aws s3 sync", "s5cmd sync", "rclone sync, tuned"):

            def theirs(target: Path, command: Callable[[Path], Sequence[str]] = peer.command) -> int:
                return _exit_code(command(target), settings)

            tools.append(Tool(peer.name, theirs, lambda target: target, elsewhere(peer.name)))
    return tools


def _exit_code(command: Sequence[str], settings: dict[str, str]) -> int:
    """Return how it ended; 124, as timeout(1) says it, when it did not."""
    try:
        done = subprocess.run(command, env=settings, capture_output=True, timeout=_RUN_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 124
    return done.returncode


Accident = Callable[[Tool, Bucket, Path], str]


def _text(tool: Tool, target: Path, name: str) -> bytes:
    path = tool.root(target) / name
    return path.read_bytes() if path.is_file() else b""


def _count(tool: Tool, target: Path) -> int:
    return sum((tool.root(target) / name).is_file() for name in _FILES)


def same_size_edit(tool: Tool, bucket: Bucket, target: Path) -> str:
    """An edit of the same size, stored before the last sync ended."""
    bucket.put({"0001.py": b"V = 2\n"})
    tool.run(target)
    return "published" if _text(tool, target, "0001.py") == b"V = 2\n" else "**missed**"


def two_in_a_second(tool: Tool, bucket: Bucket, target: Path) -> str:
    """Two uploads of one `LastModified` second, synced between."""
    bucket.put({"twice.py": b"V = 1\n"})
    tool.run(target)
    bucket.put({"twice.py": b"V = 2\n"})
    tool.run(target)
    return "published" if _text(tool, target, "twice.py") == b"V = 2\n" else "**missed**"


def list_error(tool: Tool, bucket: Bucket, target: Path) -> str:
    """The second page of the listing fails, with deletion on."""
    bucket.fail_listing_after(1)
    code = tool.run(target)
    lost = len(_FILES) - _count(tool, target)
    return f"kept all, exit {code}" if not lost else f"**deleted {lost} of {len(_FILES)}, exit {code}**"


def empty_prefix(tool: Tool, bucket: Bucket, target: Path) -> str:
    """The prefix is empty (a wrong prefix, a lost permission to see)."""
    del bucket
    empty = StubProcess()
    empty.set_up(BUCKET, objects={})
    code = tool.elsewhere(empty.url, target)
    empty.close()
    lost = len(_FILES) - _count(tool, target)
    return f"kept all, exit {code}" if not lost else f"**deleted {lost} of {len(_FILES)}, exit {code}**"


def dot_dot(tool: Tool, bucket: Bucket, target: Path) -> str:
    """A key with `..`, and a good one beside it."""
    bucket.put({"../../escaped.py": b"evil\n", "zz_good.py": b"V = 1\n"})
    tool.run(target)
    has_escaped = any(target.parents[1].rglob("escaped.py"))
    is_good = _text(tool, target, "zz_good.py") == b"V = 1\n"
    if has_escaped:
        return "**written outside**" if not _is_inside(target, "escaped.py") else "written under another name"
    return "left out, the rest published" if is_good else "**the rest is not published**"


def planted_link(tool: Tool, bucket: Bucket, target: Path) -> str:
    """A directory of the target is a link to one outside."""
    outside = target.parent / "outside"
    outside.mkdir()
    (outside / "precious.py").write_bytes(b"mine\n")
    bucket.put({"lib/x.py": b"V = 1\n"})
    tool.run(target)
    root = tool.root(target).resolve()
    shutil.rmtree(root / "lib")
    (root / "lib").symlink_to(outside)
    bucket.put({"lib/x.py": b"V = 22\n"})
    tool.run(target)
    if not (outside / "precious.py").exists():
        return "**deleted outside**"
    if (outside / "x.py").exists():
        return "**written outside**"
    return (
        "nothing touched outside" if _text(tool, target, "lib/x.py") == b"V = 22\n" else "**not published**"
    )


def _is_inside(target: Path, name: str) -> bool:
    return all(path.is_relative_to(target) for path in target.parents[1].rglob(name))


ACCIDENTS: tuple[Accident, ...] = (
    same_size_edit,
    two_in_a_second,
    list_error,
    empty_prefix,
    dot_dot,
    planted_link,
)


if __name__ == "__main__":
    main()
