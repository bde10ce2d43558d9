"""Leases as ADR 0020 has them, read by dags_agent's own code."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_ecs.releases.errors import ReleaseError
from airflow_ecs.releases.keeping import Keeping
from airflow_ecs.releases.leases import Leases, holder_name
from airflow_ecs.releases.tree import current_release, is_whole, release_path
from dags_agent.layout import Layout
from dags_agent.leases import read_leases

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Two releases as dags_agent leaves them; ``b`` is current."""
    for name in ("a", "b"):
        tree = tmp_path / "releases" / name
        tree.mkdir(parents=True)
        (tree / ".release.json").write_text(json.dumps({"id": name}))
    (tmp_path / "current").symlink_to("releases/b")
    return tmp_path


def leases(target: Path, *, holder: str = "worker-1", now: datetime = NOON) -> Leases:
    return Leases(target, holder=holder, lasts=timedelta(minutes=10), now=lambda: now)


def seen(target: Path, release_id: str, *, now: datetime = NOON) -> list[str]:
    """Who holds it, as dags_agent reads it."""
    return [lease.holder for lease in read_leases(Layout(target), release_id, now=now)]


def test_dags_agent_reads_the_lease_until_it_expires(target: Path) -> None:
    assert leases(target).take("a")
    assert seen(target, "a") == ["worker-1"]
    assert seen(target, "a", now=NOON + timedelta(minutes=9, seconds=59)) == ["worker-1"]
    assert seen(target, "a", now=NOON + timedelta(minutes=10)) == []


def test_a_renewed_lease_holds_longer_and_a_dropped_one_is_gone(target: Path) -> None:
    leases(target).take("a")
    leases(target, now=NOON + timedelta(minutes=5)).renew("a")
    assert seen(target, "a", now=NOON + timedelta(minutes=14)) == ["worker-1"]
    leases(target).drop("a")
    leases(target).drop("a")
    assert seen(target, "a") == []
    assert not (target / ".dags-agent/leases/a").exists()


def test_one_holder_that_drops_does_not_take_anothers_lease(target: Path) -> None:
    leases(target).take("a")
    leases(target, holder="worker-2").take("a")
    leases(target).drop("a")
    assert seen(target, "a") == ["worker-2"]


def test_a_release_that_is_gone_is_told_and_its_lease_is_removed(target: Path) -> None:
    assert not leases(target).take("gone")
    assert not (target / ".dags-agent/leases/gone").exists()


def test_a_lease_is_written_again_when_the_agent_removes_the_directory_between(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = iter([True, True, True])

    def token(_bytes: int) -> str:
        """Called between the making of the directory and the writing of the file."""
        if next(removals, False):
            (target / ".dags-agent/leases/a").rmdir()
        return "token"

    monkeypatch.setattr("airflow_ecs.releases.leases.secrets", SimpleNamespace(token_hex=token))
    assert leases(target).take("a")
    assert seen(target, "a") == ["worker-1"]
    assert next(removals, None) is None


def test_a_mount_that_cannot_be_written_is_told_once_and_is_no_reason_to_stop(
    target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (target / ".dags-agent").write_text("not a directory: nobody may write here")
    keeping = Keeping(leases(target), renew_seconds=60)
    assert keeping.take("a")
    assert keeping.take("b")
    assert caplog.text.count("DAGS_AGENT_KEEP_HOURS") == 1


def test_exactly_the_releases_of_unfinished_runs_are_held(target: Path) -> None:
    keeping = Keeping(leases(target), renew_seconds=60)
    assert keeping.hold_exactly(["a", "b"]) == set()
    assert keeping.hold_exactly(["b", "gone"]) == {"gone"}
    assert (seen(target, "a"), seen(target, "b")) == ([], ["worker-1"])
    keeping.end()
    assert seen(target, "b") == []


def test_holders_are_plain_names_that_no_other_process_has() -> None:
    names = {holder_name(host) for host in ("10.0.3.7", "10.0.3.7", "../x", "", "ç" * 300)}
    assert len(names) == 5
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
        assert len(name) <= 200


def test_current_is_one_look(target: Path) -> None:
    assert current_release(target) == "b"
    assert is_whole(release_path(target, "b"), "b")
    assert not is_whole(release_path(target, "b"), "other")
    assert not is_whole(release_path(target, "gone"), "gone")


@pytest.mark.parametrize(
    ("pointer", "says"),
    [
        (None, "has not published yet"),
        ("directory", "DAGS_AGENT_PUBLISH=release"),
        ("/etc", "who moved it"),
        ("releases/..", "who moved it"),
    ],
)
def test_what_is_no_pointer_of_dags_agent_is_refused_with_the_reason(
    target: Path, pointer: str | None, says: str
) -> None:
    (target / "current").unlink()
    if pointer == "directory":
        (target / "current").mkdir()
    elif pointer:
        (target / "current").symlink_to(pointer)
    with pytest.raises(ReleaseError, match=says):
        current_release(target)


@pytest.mark.parametrize("release_id", ["", "..", "a/b", ".hidden", "a\n"])
def test_what_can_be_no_id_leads_nowhere(target: Path, release_id: str) -> None:
    with pytest.raises(ReleaseError):
        release_path(target, release_id)
