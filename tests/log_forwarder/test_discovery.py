"""Which files the globs name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from log_forwarder.inputs.discovery import Globs

from .tailing import Tail, append


def test_links_hidden_files_and_our_own_state_are_not_read(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    (log.parent / "latest.log").symlink_to(log)
    (log.parent / "2026").mkdir()
    append(log.parent / "2026" / "b.log", "two\n")
    (log.parent / "latest").symlink_to(log.parent / "2026")
    append(log.parent / ".nfs0001", "three\n")
    everything = Globs([f"{tail.root}/**", f"{tail.root}/logs/*.log"], excluded=tail.root / "state")

    assert sorted(sighting.path for sighting in everything.scan()) == [
        str(log.parent / "2026" / "b.log"),
        str(log),
    ]


@pytest.mark.parametrize("spelling", ["link/**", "./real/**", "real/**/*", "link/state/*", "file"])
def test_our_own_state_is_not_read_under_any_other_name(tmp_path: Path, spelling: str) -> None:
    state = tmp_path / "real" / "state"
    state.mkdir(parents=True)
    append(state / "checkpoints.sqlite3-wal", "ours\n")
    append(tmp_path / "real" / "a.log", "one\n")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").symlink_to(state / "checkpoints.sqlite3-wal")

    sightings = Globs([f"{tmp_path}/{spelling}"], excluded=state).scan()

    assert "checkpoints.sqlite3-wal" not in [Path(sighting.path).name for sighting in sightings]


def test_a_link_that_is_named_without_a_wildcard_is_followed(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    (log.parent / "latest").symlink_to(log.name)
    (log.parent / "nowhere").symlink_to("missing.log")
    named = Globs([f"{log.parent}/latest", f"{log.parent}/nowhere"], excluded=tail.root / "state")

    assert [sighting.path for sighting in named.scan()] == [str(log)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.log", ["a.log"]),
        ("**/*.log", ["a.log", "d/b.log", "d/e/c.log"]),
        ("d/**", ["d/b.log", "d/e/c.log", "d/e/c.txt"]),
        ("**/e/*", ["d/e/c.log", "d/e/c.txt"]),
        ("d/?/[c].*", ["d/e/c.log", "d/e/c.txt"]),
        ("*/*.log", ["d/b.log"]),
        ("a.log", ["a.log"]),
        ("missing/**", []),
    ],
)
def test_globs_mean_what_a_shell_means(tmp_path: Path, pattern: str, found: list[str]) -> None:
    for name in ("a.log", "d/b.log", "d/e/c.log", "d/e/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    sightings = Globs([f"{tmp_path}/{pattern}"], excluded=tmp_path / "state").scan()

    assert sorted(os.path.relpath(sighting.path, tmp_path) for sighting in sightings) == found
