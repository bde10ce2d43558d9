"""The main job as a user runs it: real Airflow 3.3, PostgreSQL, Celery on SQS, the four sidecars."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sidecar.testing.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEMO = Path(sys.executable).with_name("airflow-ecs-demo")

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("demo"),
    pytest.mark.skipif(
        not (ROOT / ".airflow" / "bin" / "airflow").exists(),
        reason="Apache Airflow is not installed in .airflow: run `make .airflow/.ready`",
    ),
]


class RunningDemo:
    def __init__(self, home: Path, out: Path, *arguments: str) -> None:
        self.out = out
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [str(DEMO), "--home", str(home), *arguments], stdout=file, stderr=subprocess.STDOUT
            )

    def says(self, text: str, *, deadline_seconds: float = 240) -> None:
        wait_until(
            lambda: text in self.text() or self.process.poll() is not None,
            text,
            deadline_seconds=deadline_seconds,
        )
        assert text in self.text()

    def text(self) -> str:
        return self.out.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[RunningDemo]:
    running = RunningDemo(tmp_path / "demo", tmp_path / "demo.out")
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait(60)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def survivors(family: list[psutil.Process]) -> list[str]:
    return [" ".join(process.cmdline()) for process in family if is_alive(process)]


def test_every_promise_holds_while_each_sidecar_is_killed_in_the_middle(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(DEMO), "--home", str(tmp_path / "demo"), "--kill-sidecars"],
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    for name in ("standalone-init", "worker-scaler", "dags-agent", "log-forwarder"):
        assert f"kill -9 {name}" in done.stdout
    assert "BROKEN" not in done.stdout


def test_ctrl_c_leaves_no_process_behind(demo: RunningDemo) -> None:
    demo.says("Airflow's API server starts")
    family = demo.family()
    assert len(family) > 8

    demo.process.send_signal(signal.SIGINT)

    assert demo.process.wait(120) == 130
    assert survivors(family) == []


def test_kill_dash_nine_of_the_demo_leaves_no_process_behind(demo: RunningDemo) -> None:
    demo.says("Airflow's API server starts")
    family = demo.family()
    assert len(family) > 8

    demo.process.kill()

    wait_until(lambda: not survivors(family), "every process of the demo has ended", deadline_seconds=90)


def test_a_second_demo_in_the_same_folder_is_refused(demo: RunningDemo, tmp_path: Path) -> None:
    demo.says("are up")

    second = subprocess.run(
        [str(DEMO), "--home", str(tmp_path / "demo")], capture_output=True, text=True, timeout=60, check=False
    )

    assert second.returncode == 1
    assert "another demo is running" in second.stdout
