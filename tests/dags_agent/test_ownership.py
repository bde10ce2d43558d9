"""Readers are other users: what is published belongs to them, or they are told why not."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dags_agent.events import Events
from dags_agent.ownership import Owner
from dags_agent.program import Agent

from .fakes import FakeSource, SlowS3, an_agent

FILES = {"a.py": b"1", "lib/b.py": b"2"}
AIRFLOW = Owner(uid=50000, gid=0)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@as_root
@pytest.mark.parametrize("publish", ["release", "in_place"])
async def test_root_hands_files_and_directories_to_the_airflow_user(tmp_path: Path, publish: str) -> None:
    source = FakeSource()
    source.set(FILES)
    with an_agent(tmp_path / "efs", source, publish=publish) as agent:
        agent.cycle._owner = AIRFLOW
        await agent.cycle.sync()
        root = agent.target / ("current" if publish == "release" else "")
        owners = {
            path: (path.stat().st_uid, path.stat().st_gid) for path in (root / "a.py", root / "lib/b.py")
        }
        owners[root / "lib"] = ((root / "lib").stat().st_uid, (root / "lib").stat().st_gid)
    assert set(owners.values()) == {(50000, 0)}


@as_root
@pytest.mark.parametrize("is_ahead", [False, True])
async def test_a_copy_where_no_link_is_left_belongs_to_the_airflow_user_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ahead: bool
) -> None:
    source = FakeSource()
    source.set(FILES)
    link = os.link

    def no_link_is_left(old: str | Path, new: str | Path, **options: bool) -> None:
        if str(old).endswith("b.py"):
            raise OSError(errno.EMLINK, "Too many links")
        link(old, new, **options)

    with an_agent(tmp_path / "efs", source, wake=asyncio.Event() if is_ahead else None) as agent:
        agent.cycle._owner = AIRFLOW
        monkeypatch.setattr(os, "link", no_link_is_left)
        await agent.cycle.sync()
        source.set(FILES | {"a.py": b"3"})
        await agent.cycle.sync()
        status = (agent.target / "current/lib/b.py").stat()
    assert (status.st_nlink, status.st_uid, status.st_gid) == (1, 50000, 0)


@as_root
async def test_an_access_point_that_gives_its_own_owner_is_told_once_and_lived_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    source = FakeSource()
    source.set(FILES)
    with an_agent(tmp_path / "efs", source) as agent:
        agent.cycle._owner = AIRFLOW
        await agent.cycle.sync()
        assert agent.files() == FILES
        assert agent.cycle._owner is None


def test_who_is_not_root_publishes_as_itself_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Events, "owner_not_given", lambda _self, _owner, why: told.append(why))
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with an_agent(tmp_path / "efs", FakeSource()) as agent:
        program = Agent.__new__(Agent)
        program._settings = agent.settings
        program._events = Events.__new__(Events)
        assert program._owner() is None
    assert told == ["only root may give files away, this is uid 1234"]


@pytest.mark.parametrize(("umask", "modes"), [("0022", (0o644, 0o755)), ("0002", (0o664, 0o775))])
def test_the_umask_decides_the_modes_of_files_directories_and_the_note(
    tmp_path: Path, umask: str, modes: tuple[int, int]
) -> None:
    s3 = SlowS3({f"dags/{path}": content for path, content in FILES.items()})
    environment = {
        "PATH": os.defpath,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": s3.url,
        "DAGS_AGENT_SOURCE": "s3://bucket/dags/",
        "DAGS_AGENT_TARGET": str(tmp_path / "efs"),
        "DAGS_AGENT_UMASK": umask,
        "DAGS_AGENT_OWNER": f"{os.geteuid()}:{os.getegid()}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "dags_agent", "once"], env=environment, capture_output=True, check=False
    )
    s3.close()
    assert done.returncode == 0, done.stdout
    current = tmp_path / "efs/current"
    files = {path.stat().st_mode & 0o777 for path in current.rglob("*") if path.is_file()}
    directories = {path.stat().st_mode & 0o777 for path in (current, current / "lib")}
    assert (files, directories) == ({modes[0]}, {modes[1]})
