"""The chassis as a real process: exit codes, signals, the HTTP port, what reaches the output."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sidecar.testing.waiting import wait_until

TOY = [sys.executable, "-m", "shared.toy"]
HERE = {"PYTHONPATH": str(Path(__file__).parents[1])}


def toy(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**HERE, "TOY_HTTP_PORT": "0", **settings}
    return subprocess.run(
        [*TOY, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Running:
    def __init__(self, out: Path, **settings: str) -> None:
        self.out = out
        with out.open("wb") as file:
            self.process = subprocess.Popen(TOY, env={**HERE, **settings}, stdout=file, stderr=file)

    def says(self, event: str) -> None:
        wait_until(lambda: f'"event": "{event}"' in self.out.read_text(), event, deadline_seconds=30)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_flag_of_once_reaches_the_program_and_is_no_flag_of_run() -> None:
    assert '"shouted"' in toy("once", "--loud", TOY_TARGET="world").stdout
    assert '"shouted"' not in toy("once", TOY_TARGET="world").stdout
    assert toy("run", "--loud", TOY_TARGET="world").returncode == 2


def test_bad_settings_exit_2_with_a_line_per_problem_and_no_traceback() -> None:
    done = toy(TOY_TRGET="x", TOY_NAMES="[")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3
    assert "did you mean TOY_TARGET?" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_configuration_that_proves_wrong_exits_2_with_what_why_and_what_to_do() -> None:
    done = toy(TOY_TARGET="nobody")
    fatal = [json.loads(line) for line in done.stdout.splitlines() if '"fatal"' in line]

    assert done.returncode == 2
    assert [(f["what"], f["why"], f["to_do"]) for f in fatal] == [
        ("Cannot greet", "nobody is there", "Set TOY_TARGET")
    ]
    assert "Traceback" not in done.stdout


def test_a_bug_exits_1_and_shows_its_traceback_without_the_secret_it_quotes() -> None:
    done = toy("once", TOY_TARGET="bug", TOY_TOKEN="hunter22")

    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert "hunter22" not in done.stdout + done.stderr


def test_a_secret_that_is_logged_by_mistake_is_masked() -> None:
    done = toy("once", TOY_TARGET="world", TOY_TOKEN="hunter22")

    assert '"with_token": "**********"' in done.stdout
    assert "hunter22" not in done.stdout


def test_a_bug_in_check_shows_its_traceback_without_the_secret_it_quotes() -> None:
    done = toy("check", TOY_TARGET="leaky", TOY_TOKEN="hunter22")

    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "hunter22" not in done.stdout + done.stderr


def test_a_missing_region_is_a_configuration_error_wherever_it_is_noticed() -> None:
    done = toy("check", TOY_TARGET="no region")

    assert (done.returncode, done.stderr) == (
        2,
        "sidecar: AWS cannot be used: no AWS region is set. Set AWS_REGION\n",
    )


def test_metrics_of_a_short_run_are_written_too() -> None:
    done = toy("once", TOY_TARGET="world", TOY_METRICS_EMF="true")

    assert sum('"_aws"' in line for line in done.stdout.splitlines()) == 1


def test_libraries_are_as_quiet_as_the_log_level_says() -> None:
    assert toy("once", TOY_TARGET="world", TOY_LOG_LEVEL="error").stdout == ""


def test_check_prints_a_line_per_finding_and_exits_2_on_a_problem() -> None:
    assert toy("check", TOY_TARGET="world").stdout == "ok       target: world\n"

    done = toy("check", TOY_TARGET="nobody")

    assert (done.returncode, done.stdout) == (2, "PROBLEM  target: nobody is there. Set TOY_TARGET\n")


def test_an_unknown_command_and_an_abbreviation_are_refused() -> None:
    assert toy("rum", TOY_TARGET="x").returncode == 2
    assert toy("once", "--dry", TOY_TARGET="x").returncode == 2


def test_settings_and_version_print_without_starting_anything() -> None:
    assert "TOY_TARGET=world\n" in toy("settings", TOY_TARGET="world").stdout
    assert toy("settings", "--markdown").stdout.startswith("| Variable |")
    assert toy("--version").stdout.startswith("sidecar 0.")


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_finishes_and_exits_0(tmp_path: Path, order: signal.Signals) -> None:
    running = Running(tmp_path / "out", TOY_TARGET="world", TOY_HTTP_PORT="0", TOY_INTERVAL_SECONDS="3600")
    try:
        running.says("greeted")
        running.process.send_signal(order)

        assert running.process.wait(10) == 0
        running.says("stopped")
    finally:
        running.end()


def test_work_that_does_not_end_is_cancelled_at_the_stop_timeout_and_counts_as_failed(tmp_path: Path) -> None:
    running = Running(tmp_path / "out", TOY_TARGET="deaf", TOY_HTTP_PORT="0", TOY_STOP_TIMEOUT_SECONDS="0.2")
    try:
        running.says("started")
        running.process.send_signal(signal.SIGTERM)

        assert running.process.wait(10) == 1
        running.says("stopped")
    finally:
        running.end()


def test_a_thread_that_hangs_after_the_work_has_ended_is_left_behind(tmp_path: Path) -> None:
    running = Running(
        tmp_path / "out", TOY_TARGET="hung mount", TOY_HTTP_PORT="0", TOY_STOP_TIMEOUT_SECONDS="0.2"
    )
    try:
        running.says("hangs")

        assert running.process.wait(10) == 1
    finally:
        running.end()


def test_a_blocked_thread_does_not_hold_up_the_end(tmp_path: Path) -> None:
    running = Running(
        tmp_path / "out", TOY_TARGET="blocked", TOY_HTTP_PORT="0", TOY_STOP_TIMEOUT_SECONDS="0.2"
    )
    try:
        running.says("blocked")
        running.process.send_signal(signal.SIGTERM)

        assert running.process.wait(10) == 1
        running.says("stopped")
    finally:
        running.end()


def test_a_second_signal_ends_the_process_now(tmp_path: Path) -> None:
    running = Running(tmp_path / "out", TOY_TARGET="deaf", TOY_HTTP_PORT="0", TOY_STOP_TIMEOUT_SECONDS="600")
    try:
        running.says("started")
        running.process.send_signal(signal.SIGTERM)
        running.says("stopping")
        running.process.send_signal(signal.SIGTERM)

        assert running.process.wait(10) == 128 + signal.SIGTERM
    finally:
        running.end()


def test_the_http_port_answers_metrics_health_and_readiness(tmp_path: Path) -> None:
    port = free_port()
    running = Running(
        tmp_path / "out", TOY_TARGET="world", TOY_HTTP_PORT=str(port), TOY_HTTP_HOST="127.0.0.1"
    )
    try:
        running.says("greeted")
        pages = {
            path: urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read().decode()
            for path in ("/metrics", "/healthz", "/readyz")
        }

        assert 'sidecar_build_info{service="sidecar"' in pages["/metrics"]
        assert 'airflow_ecs_sidecar_cycles_total{result="success"}' in pages["/metrics"]
        assert "airflow_ecs_sidecar_last_success_timestamp_seconds" in pages["/metrics"]
        assert toy("health", TOY_TARGET="x", TOY_HTTP_PORT=str(port)).returncode == 0
        for path, status in {"/nope": "404", "/broken": "500"}.items():
            with pytest.raises(urllib.error.HTTPError, match=status) as failed:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5)
            failed.value.close()
        running.says("page_failed")
    finally:
        running.end()


def test_health_asks_where_the_sidecar_listens(tmp_path: Path) -> None:
    port = str(free_port())
    running = Running(tmp_path / "out", TOY_TARGET="world", TOY_HTTP_PORT=port, TOY_HTTP_HOST="127.0.0.2")
    try:
        running.says("greeted")

        assert toy("health", TOY_TARGET="x", TOY_HTTP_PORT=port, TOY_HTTP_HOST="127.0.0.2").returncode == 0
    finally:
        running.end()


def test_health_of_a_sidecar_that_is_not_there_is_1() -> None:
    done = toy("health", TOY_TARGET="x", TOY_HTTP_PORT=str(free_port()))

    assert (done.returncode, done.stderr.startswith("no answer on port")) == (1, True)


def test_a_port_in_use_is_a_configuration_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        done = toy(TOY_TARGET="world", TOY_HTTP_PORT=port, TOY_HTTP_HOST="127.0.0.1")

    assert done.returncode == 2
    assert "Cannot listen on 127.0.0.1" in done.stdout
