"""A reader sees one whole release, whatever moment it comes at: readers are processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fakes import FakeSource, an_agent

FILES = 12
PUBLISHES = 150
# Opens `current` once per look, as a reader that wants one release does, and hashes all of it.
READER = """
import hashlib, json, os, sys
current, stop = sys.argv[1:]
looks, problems, releases = 0, [], []
while not os.path.exists(stop):
    root = os.open(current, os.O_RDONLY | os.O_DIRECTORY)
    try:
        digest, versions, lines = hashlib.sha256(), set(), []
        for top, _, names, directory in os.fwalk(dir_fd=root):
            for name in names:
                with open(os.open(name, os.O_RDONLY, dir_fd=directory), "rb") as file:
                    content = file.read()
                path = os.path.normpath(os.path.join(top, name))
                if path == ".release.json":
                    note = json.loads(content)
                else:
                    versions.add(content)
                    lines.append((path, hashlib.sha256(content).hexdigest()))
        for path, hexdigest in sorted(lines):
            digest.update(f"{hexdigest}  {path}\\n".encode())
        is_proven = note["digest"] == f"sha256:{digest.hexdigest()}" and note["files"] == len(lines)
        if len(versions) != 1 or not is_proven:
            problems.append([note["id"], len(versions), len(lines)])
        if not releases or releases[-1] != note["id"]:
            releases.append(note["id"])
    except OSError as err:
        problems.append(repr(err))
    finally:
        os.close(root)
    looks += 1
print(json.dumps({"looks": looks, "problems": problems, "releases": releases}))
"""


@pytest.fixture
def reader() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(current: Path, stop: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", READER, str(current), str(stop)], stdout=subprocess.PIPE, text=True
    )


async def test_reader_processes_that_hash_all_the_time_never_see_two_versions_nor_miss_a_file(
    tmp_path: Path, reader: list[subprocess.Popen[str]]
) -> None:
    source = FakeSource()
    stop = tmp_path / "stop"

    def upload(version: int) -> None:
        source.set({f"{number % 3}/{number}.py": b"%d" % version for number in range(FILES)})

    upload(0)
    with an_agent(tmp_path / "efs", source, keep_releases=3, keep_hours=1) as agent:
        await agent.cycle.sync()
        reader += [start(tmp_path / "efs/current", stop) for _ in range(2)]
        for version in range(1, PUBLISHES):
            upload(version)
            await agent.cycle.sync()
        stop.touch()
        seen = [json.loads(process.communicate(timeout=60)[0]) for process in reader]

    for report in seen:
        assert report["problems"] == []
        assert report["releases"] == sorted(report["releases"])
    assert max(len(report["releases"]) for report in seen) > 5, "they must have met several releases"
