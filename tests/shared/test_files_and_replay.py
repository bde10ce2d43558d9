from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.files import write_atomic
from sidecar.testing.replay import run_every_prefix


def test_a_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(b"old")

    write_atomic(file, b"new", mode=0o600)

    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_keeps_the_old_bytes(tmp_path: Path) -> None:
    directory = tmp_path / "state.json"
    directory.mkdir()

    with pytest.raises(OSError, match=r"state\.json"):
        write_atomic(directory, b"new")

    assert list(tmp_path.iterdir()) == [directory]


def count_up(world: list[int]) -> list[int]:
    return list(range(len(world), 3))


def holds(world: list[int]) -> None:
    assert world == list(range(len(world)))


def is_counted(world: list[int]) -> None:
    assert world == [0, 1, 2]


def test_a_plan_that_converges_is_tried_at_every_prefix() -> None:
    tried = run_every_prefix(start=list, plan=count_up, apply=list.append, holds=holds, is_goal=is_counted)

    assert tried == 4


def test_a_plan_that_does_not_look_first_is_caught() -> None:
    with pytest.raises(AssertionError):
        run_every_prefix(
            start=list, plan=lambda _: [0, 1, 2], apply=list.append, holds=lambda _: None, is_goal=is_counted
        )


def test_an_invariant_broken_on_the_way_is_caught() -> None:
    with pytest.raises(AssertionError):
        run_every_prefix(
            start=list, plan=lambda _: [1, 0], apply=list.append, holds=holds, is_goal=lambda _: None
        )
