"""The target's file system fails: one clear error each, the live release stays, nothing is left."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dags_agent import fetch
from dags_agent.errors import TargetFailed, TargetFault
from dags_agent.layout import Layout
from dags_agent.newfile import NewFile
from sidecar.errors import Transient

from .fakes import Agent, FakeSource, an_agent, tree

ONE = {"a.py": b"V = 1\n", "lib/b.py": b"V = 1\n", "c.sql": b"select 1"}
TWO = ONE | {"a.py": b"V = 2\n", "new/d.py": b"V = 2\n"}
FAULTS = {
    errno.ENOSPC: TargetFault.FULL,
    errno.EDQUOT: TargetFault.FULL,
    errno.EROFS: TargetFault.READ_ONLY,
    errno.ESTALE: TargetFault.STALE,
    errno.EIO: TargetFault.IO,
    errno.EACCES: TargetFault.PERMISSION,
    errno.ENODEV: TargetFault.OTHER,
}
# Where a publish touches the target: each of these may fail.
CALLS = ["mkdir", "open", "link", "rename", "replace", "symlink", "fsync", "write", "scandir", "readlink"]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    source = FakeSource()
    source.set(ONE)
    with an_agent(tmp_path / "efs", source) as agent:
        yield agent


class Failing:
    """A call of the operating system that fails below the target from its n-th time on."""

    def __init__(self, name: str, error: int, *, after: int = 0) -> None:
        self._call: Callable[..., object] = getattr(os, name)
        self._error = error
        self._after = after
        self.failed = 0

    def __call__(self, *arguments: object, **options: object) -> object:
        is_ours = any("efs" in str(argument) or isinstance(argument, int) for argument in arguments)
        self._after -= is_ours
        if is_ours and self._after < 0:
            self.failed += 1
            raise OSError(self._error, os.strerror(self._error))
        return self._call(*arguments, **options)


@pytest.mark.parametrize("error", FAULTS)
async def test_each_fault_has_its_name_its_remedy_and_its_metric(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    await agent.cycle.sync()
    agent.source.set(TWO)
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", Failing("mkdir", error))
        with pytest.raises(TargetFailed) as failed:
            await agent.cycle.sync()
    assert failed.value.fault is FAULTS[error]
    assert failed.value.remedy
    assert os.strerror(error) in failed.value.why
    assert agent.metric("target_errors_total", fault=FAULTS[error]) == 1
    assert agent.files() == ONE
    await agent.cycle.sync()
    assert agent.files() == TWO
    assert agent.leftovers() == []


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("after", [0, 1, 3, 7])
async def test_whatever_call_fails_readers_keep_a_whole_release_and_the_next_pass_converges(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    await agent.cycle.sync()
    agent.source.set(TWO)
    with monkeypatch.context() as patch:
        failing = Failing(call, errno.EIO, after=after)
        patch.setattr(os, call, failing)
        try:
            await agent.cycle.sync()
        except TargetFailed as err:
            assert err.fault is TargetFault.IO  # noqa: PT017 - not each of them fails
    assert failing.failed or after, "the call is one that a publish makes"
    assert agent.files() in (ONE, TWO)
    await agent.cycle.sync()
    assert agent.files() == TWO
    agent.source.set(ONE)
    await agent.cycle.sync()
    assert agent.leftovers() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB. Needs root and the right to mount."""
    place = tmp_path / "efs-small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


async def test_a_really_full_disk_keeps_the_live_release_and_gives_its_space_back(small_disk: Path) -> None:
    source = FakeSource()
    source.set(ONE)
    with an_agent(small_disk, source) as agent:
        await agent.cycle.sync()
        source.set(ONE | {"big.bin": os.urandom(1 << 20)})
        with pytest.raises(TargetFailed) as failed:
            await agent.cycle.sync()
        assert failed.value.fault is TargetFault.FULL
        assert agent.files() == ONE
        assert agent.leftovers() == []
        source.set(ONE | {"small.bin": b"fits"})
        await agent.cycle.sync()
        assert agent.files() == ONE | {"small.bin": b"fits"}


async def test_a_mount_that_turns_read_only_is_named_and_recovered_from(small_disk: Path) -> None:
    source = FakeSource()
    source.set(ONE)
    with an_agent(small_disk, source) as agent:
        await agent.cycle.sync()
        remount(small_disk, "ro")
        await agent.cycle.sync()  # nothing changed: nothing is written
        source.set(TWO)
        with pytest.raises(TargetFailed) as failed:
            await agent.cycle.sync()
        assert failed.value.fault is TargetFault.READ_ONLY
        assert tree(small_disk / "current") == ONE
        remount(small_disk, "rw")
        await agent.cycle.sync()
        assert agent.files() == TWO


async def test_a_stale_handle_of_current_is_no_wrong_configuration(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.cycle.sync()

    def stale(_layout: Layout) -> str:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "readlink", stale)
    with pytest.raises(TargetFailed) as failed:
        await agent.cycle.sync()
    assert failed.value.fault is TargetFault.STALE


async def test_a_body_that_never_ends_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = NewFile.write

    def counted(self: NewFile, data: bytes) -> None:
        written.append(len(data))
        write(self, data)

    monkeypatch.setattr(NewFile, "write", counted)
    size_bytes = fetch._SMALL_BYTES + 1
    source = FakeSource()
    source.set({"big.bin": bytes(size_bytes)})
    source.in_transit = lambda _key, content: content * 20
    with an_agent(tmp_path / "efs", source) as agent, pytest.raises(Transient, match="are listed"):
        await agent.cycle.sync()
    assert sum(written) <= len(source.opened) * (size_bytes + fetch._CHUNK_BYTES)


def test_releases_cannot_be_kept_for_longer_than_a_calendar_knows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep_hours"), an_agent(tmp_path, FakeSource(), keep_hours=1e11):
        pass
