"""Whatever ends local_ecs, nothing it started is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from local_ecs.runtimes.ledger import Ledger, end_recorded
from sidecar.testing.waiting import wait_until

from .real import RealEcs, is_alive, kill, sleepers

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

Connect = Callable[..., "ECSClient"]


def with_workers(ecs: RealEcs, connect: Connect, script: str) -> tuple[str, list[int]]:
    """Run two workers with a child in their session and one outside; returns their sleep and pids."""
    nap = str(100_000 + uuid.uuid4().int % 10_000_000)
    client = connect(ecs.url)
    client.create_cluster(clusterName="main")
    command = ["sh", "-c", f"{script} sleep {nap} & setsid sleep {nap} & wait; wait; wait"]
    client.register_task_definition(
        family="worker", containerDefinitions=[{"name": "main", "image": "i", "command": command}]
    )
    client.create_service(cluster="main", serviceName="s", taskDefinition="worker", desiredCount=2)
    mains = [task["mainPid"] for task in ecs.running("worker", 2)]
    wait_until(lambda: len(sleepers(nap)) == 4, "two children of each worker")
    return nap, mains


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end_stops_all_tasks(tmp_path: Path, connect: Connect, order: signal.Signals) -> None:
    with RealEcs(tmp_path) as ecs:
        assert ecs.first_line.startswith("local_ecs listening on http://127.0.0.1:")
        nap, mains = with_workers(ecs, connect, "")
        guardian = ecs.guardian_pid()
        ecs.process.send_signal(order)
        assert ecs.wait() == (0, "")
        assert sleepers(nap) == []
        assert not any(is_alive(pid) for pid in [*mains, guardian])


def test_tasks_that_do_not_obey_are_killed_after_the_grace(tmp_path: Path, connect: Connect) -> None:
    with RealEcs(tmp_path, "--stop-grace-seconds", "0.5") as ecs:
        nap, _ = with_workers(ecs, connect, "trap '' TERM;")
        ecs.process.terminate()
        assert ecs.wait() == (0, "")
        assert sleepers(nap) == []


def test_a_second_signal_ends_the_grace(tmp_path: Path, connect: Connect) -> None:
    with RealEcs(tmp_path, "--stop-grace-seconds", "600") as ecs:
        nap, mains = with_workers(ecs, connect, "trap 'sleep 0.1; trap \"\" TERM' TERM;")
        ecs.process.terminate()
        wait_until(lambda: refuses(ecs, connect), "the first signal to be seen")
        ecs.process.terminate()
        assert ecs.wait() == (0, "")
        assert sleepers(nap) == []
        assert not any(is_alive(pid) for pid in mains)


def refuses(ecs: RealEcs, connect: Connect) -> bool:
    """Whether requests are refused, because local_ecs is about to end."""
    client = connect(ecs.url)
    try:
        client.list_clusters()
    except client.exceptions.ServerException:
        return True
    return False


def test_a_killed_guardian_is_replaced(tmp_path: Path, connect: Connect) -> None:
    with RealEcs(tmp_path) as ecs:
        nap, _ = with_workers(ecs, connect, "")
        first = ecs.guardian_pid()
        kill(first)
        wait_until(lambda: first not in ecs.guardian_pids() and ecs.guardian_pids(), "another guardian")
        kill(ecs.process.pid)
        wait_until(lambda: not sleepers(nap), "no child of a worker to be left")


def test_kill_dash_nine_of_local_ecs_leaves_no_process(tmp_path: Path, connect: Connect) -> None:
    with RealEcs(tmp_path) as ecs:
        nap, mains = with_workers(ecs, connect, "trap '' TERM;")
        guardian = ecs.guardian_pid()
        kill(ecs.process.pid)
        wait_until(lambda: not sleepers(nap), "no child of a worker to be left")
        wait_until(lambda: not any(is_alive(pid) for pid in [*mains, guardian]), "nothing to be left")


def test_what_survived_even_the_guardian_is_ended_at_the_next_start(tmp_path: Path, connect: Connect) -> None:
    with RealEcs(tmp_path) as first:
        nap, mains = with_workers(first, connect, "")
        os.kill(first.process.pid, signal.SIGSTOP)
        kill(first.guardian_pid(), first.process.pid)
        wait_until(lambda: not any(is_alive(pid) for pid in mains), "the kernel to end the main processes")
        assert len(sleepers(nap)) == 4
    with RealEcs(tmp_path) as second:
        assert sleepers(nap) == []
        second.process.terminate()
        assert second.wait() == (0, "local_ecs ended 4 processes that an earlier run left\n")


def test_two_do_not_share_a_state_directory(tmp_path: Path) -> None:
    with RealEcs(tmp_path), RealEcs(tmp_path) as second:
        code, said = second.wait()
        assert code == 2
        assert f"another local_ecs works with {tmp_path}" in said


def test_a_process_that_only_has_the_number_of_an_old_one_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        started = psutil.Process(stranger.pid).create_time()
        ledger = tmp_path / "processes.json"
        entry = {"task_id": "t", "container": "main", "pid": stranger.pid, "started": started - 5}
        ledger.write_text(json.dumps({"instance": uuid.uuid4().hex, "processes": [entry]}))
        assert end_recorded(ledger, is_fresh=False) == 0
        assert stranger.poll() is None
        ledger.write_text(
            json.dumps({"instance": uuid.uuid4().hex, "processes": [{**entry, "started": started}]})
        )
        assert end_recorded(ledger, is_fresh=False) == 1
        assert stranger.wait(10) == -signal.SIGKILL
    finally:
        stranger.kill()
        stranger.wait()


def test_the_list_of_processes_is_written_at_every_change(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add("t", "main", os.getpid())
    written = json.loads(ledger.path.read_text())
    assert [each["pid"] for each in written["processes"]] == [os.getpid()]
    ledger.remove(os.getpid())
    assert json.loads(ledger.path.read_text())["processes"] == []
    ledger.close()
