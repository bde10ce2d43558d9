"""Local files go when they were shipped whole and have been silent, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .tailing import Tail, append


@pytest.fixture
def grooming(tmp_path: Path) -> Iterator[Tail]:
    """Whoever looks at the time here is far in the future."""
    (tmp_path / "logs").mkdir()
    tail = Tail(tmp_path, delete_after_seconds=3600)
    yield tail
    tail.stop()


def test_a_file_that_was_shipped_goes_with_the_directories_it_leaves_empty(grooming: Tail) -> None:
    logs = grooming.root / "logs"
    append(logs / "dag_id=d" / "run_id=r" / "attempt=1.log", "one\n")
    append(logs / "dag_id=e" / "attempt=1.log", "one\n")
    grooming.look()
    (logs / "dag_id=e" / "other").mkdir()
    grooming.clock.advance(3601)
    grooming.read()

    assert [path.name for path in logs.iterdir()] == ["dag_id=e"]
    assert not (logs / "dag_id=e" / "attempt=1.log").exists()
    assert grooming.told == ["groomed 2"]
    assert (grooming.over, grooming.unwatched) == ([], 0)


def test_what_was_not_accepted_whole_stays(grooming: Tail) -> None:
    log = grooming.root / "logs" / "a.log"
    append(log, "one\n")
    grooming.finder.scan()
    list(grooming.input.chunks())  # read, and not accepted
    grooming.clock.advance(3601)
    grooming.input.look()
    assert log.exists()

    append(log, "two\nunfinished")
    grooming.look()
    grooming.clock.advance(3601)
    grooming.input.look()
    assert log.exists()


def test_without_the_option_nothing_is_ever_deleted(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    tail.clock.advance(10**7)
    tail.look()

    assert log.exists()
