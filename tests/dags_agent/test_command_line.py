"""The rest of the command line, as an operator types it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.testing.plugin import Finished

from .fakes import BUCKET, PREFIX, SlowS3, tree

ONE = {f"{number}.py": b"V = 1\n" for number in range(4)}
TWO = {"0.py": b"V = 2\n", "1.py": b"V = 1\n", "2.py": b"V = 1\n", "new.py": b""}
Say = Callable[..., Finished]


@pytest.fixture
def s3() -> Iterator[SlowS3]:
    server = SlowS3({f"{PREFIX}{path}": content for path, content in ONE.items()}, page_size=1000)
    yield server
    server.close()


def put(s3: SlowS3, files: dict[str, bytes]) -> None:
    s3.objects = {f"{PREFIX}{path}": content for path, content in files.items()}


@pytest.fixture
def say(run_sidecar: Say, s3: SlowS3, tmp_path: Path) -> Say:
    settings = {
        "AWS_ENDPOINT_URL": s3.url,
        "DAGS_AGENT_SOURCE": f"s3://{BUCKET}/{PREFIX}",
        "DAGS_AGENT_TARGET": str(tmp_path / "efs"),
    }
    return lambda *words: run_sidecar("dags_agent", *words, settings=settings)


@pytest.mark.parametrize("files", [{}, {"0.py": b"V = 1\n"}])
def test_deletions_that_a_guard_refuses_go_through_when_somebody_says_so_and_only_then(
    say: Say, s3: SlowS3, tmp_path: Path, files: dict[str, bytes]
) -> None:
    assert say("once").code == 0
    put(s3, files)
    refused = say("once")
    assert refused.code == 1
    assert "dags-agent once --allow-delete" in refused.out
    assert tree(tmp_path / "efs/current") == ONE
    assert say("once", "--allow-delete").code == 0
    assert tree(tmp_path / "efs/current") == files
    assert say("once").code == (0 if files else 1)  # it was said for one pass


def test_a_first_release_is_never_an_empty_one(say: Say, s3: SlowS3, tmp_path: Path) -> None:
    put(s3, {})
    assert say("once", "--allow-delete").code == 1
    assert not (tmp_path / "efs/current").exists()


def test_diff_names_each_file_that_came_went_or_changed(say: Say, s3: SlowS3, tmp_path: Path) -> None:
    assert say("once").code == 0
    first = (tmp_path / "efs/current").readlink().name
    put(s3, TWO)
    assert say("once").code == 0
    second = (tmp_path / "efs/current").readlink().name
    assert say("diff", first).out.splitlines() == ["~ 0.py", "- 3.py", "+ new.py"]
    assert say("diff", second, first).out.splitlines() == ["~ 0.py", "+ 3.py", "- new.py"]
    assert say("diff", second, second).out == ""
    unknown = say("diff", "../..", second)
    assert unknown.code == 1
    assert "There is no release '../..'" in unknown.err


def test_verify_says_what_is_not_as_published_and_repairs_nothing(say: Say, tmp_path: Path) -> None:
    assert say("once").code == 0
    done = say("verify")
    assert (done.code, "4 files, all as published" in done.out) == (0, True)
    current = tmp_path / "efs/current"
    (current / "0.py").write_bytes(b"V = 9\n")
    (current / "stray").write_bytes(b"")
    drifted = say("verify")
    assert drifted.code == 1
    assert drifted.out.splitlines() == ["damaged 0.py", "foreign stray"]
    assert (current / "0.py").read_bytes() == b"V = 9\n"


def test_help_names_every_command_and_the_way_to_delete(say: Say) -> None:
    text = " ".join(say("--help").out.split())
    for word in ("diff", "verify", "rollback", "resume", "publish", "wait"):
        assert word in text
    assert "--allow-delete" in say("once", "--help").out
